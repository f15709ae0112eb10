"""The maths reward, one concern a file; the children that read LaTeX import ``symbolic``, nobody else may.

``source`` runs the rungs; ``plain`` holds those that need no child, over ``numeric`` and ``units``; ``symbolic`` is the
last, by the rules of ``equality`` and then Math-Verify: ``repair`` mends spellings, ``shapes`` splits lists and
relations, ``regions`` reads sets of real numbers, ``expressions`` compares formulas by sampling.
"""

from __future__ import annotations

from pangu_verl.mars.maths.gold import gold_answer
from pangu_verl.mars.maths.plain import settle_plainly
from pangu_verl.mars.maths.source import MathsSource

__all__ = ["MathsSource", "gold_answer", "settle_plainly"]
