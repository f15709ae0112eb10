"""The data of a paced run: prompts that are nothing but their number, and a reward that costs nothing.

The number is the prompt's place in the trace, so a simulation of the same trace meets the same lengths.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from pangu_verl.errors import RunFailed

_NUMBER = re.compile(r"prompt (\d+)")


def write_prompts(file: Path, count: int) -> Path:
    """``count`` rows in verl's columns."""
    rows = [
        {
            "data_source": "paced",
            "prompt": [{"role": "user", "content": f"prompt {number}"}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": "0"},
            "extra_info": {"index": number},
        }
        for number in range(count)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(file)
    return file


def number_of(text: str) -> int:
    """Of a prompt, whatever a chat template puts around it. Raises ``RunFailed`` where it has none."""
    if (found := _NUMBER.search(text)) is None:
        raise RunFailed(f"a paced run needs prompts like 'prompt 17', got {text[:80]!r}; make them with write_prompts")
    return int(found[1])


def no_reward(**_: Any) -> float:
    """For ``reward.custom_reward_function``: dummy tokens earn nothing."""
    return 0.0
