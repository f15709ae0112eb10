"""The maths reward, one concern a file; the children that read LaTeX import ``equality``, nobody else may.

``source`` runs the ladder; ``plain`` holds the rungs that need no child; ``repair`` mends spellings, ``shapes`` splits
lists and relations, ``regions`` reads sets of real numbers, ``expressions`` compares formulas by sampling.
"""

from __future__ import annotations

from pangu_verl.mars.maths.gold import gold_answer
from pangu_verl.mars.maths.plain import settle_plainly
from pangu_verl.mars.maths.source import MathsSource

__all__ = ["MathsSource", "gold_answer", "settle_plainly"]
