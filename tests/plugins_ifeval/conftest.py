"""The plugin's package from the checkout, for a run in which it is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "pangu-verl-ifeval"))
