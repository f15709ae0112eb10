"""Rows and complaints for the tests of what is looked at before a run starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from omegaconf import DictConfig

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl import preflight

#: Gives the passing configuration with some keys set; a dot of a key is written as two underscores.
Change = Callable[..., DictConfig]

PROMPT = [{"role": "user", "content": "What is 1 + 2?"}]
REWARD = "def compute_score(data_source, solution_str, ground_truth, extra_info=None):\n    return 1.0\n"


def rows(count: int = 8, **columns: Any) -> pd.DataFrame:
    """Rows as verl takes them; a column of ``...`` is left out."""
    row = {
        "prompt": PROMPT,
        "data_source": "sums",
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "3"},
        "extra_info": {"index": 0},
        **columns,
    }
    return pd.DataFrame([{name: value for name, value in row.items() if value is not ...}] * count)


def complaint(config: DictConfig) -> str:
    """The one line that a configuration is refused with."""
    with pytest.raises(WrongUse) as caught:
        preflight.check(config)
    assert "\n" not in str(caught.value)
    return str(caught.value)
