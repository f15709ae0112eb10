"""Faults that are built into the worker on purpose: each is found, named, and an error."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import soak_mutants
from soak_runs import small_order, soaked

from pangu_verl.errors import RunFailed
from pangu_verl.simulate.soak import lives

CASES = [
    (
        "widen_the_bound_by_one",
        0,
        "tokens_over_bound",
        r"tokens of version \d+ trained on at version \d+, over the bound",
    ),
    ("forget_a_consumed_group", 0, "prompts_trained_twice", r"trained on and still open in the ledger"),
    ("forget_a_consumed_group", 1, "prompts_trained_twice", r"trained on at step 7 and again at step \d+"),
    ("skip_a_prompt", 0, "lost_prompts", r"prompt 'p7' is given out by the loader, but neither trained on nor live"),
    ("resume_the_loader_too_late", 1, "lost_prompts", r"given out by the loader, but neither trained on nor live"),
]


@pytest.mark.parametrize(("mutant", "kills", "breach", "sentence"), CASES)
def test_a_fault_is_found_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: str, kills: int, breach: str, sentence: str
) -> None:
    monkeypatch.setattr(lives, "WORKER", (sys.executable, soak_mutants.__file__, mutant))
    with pytest.raises(RunFailed, match=sentence):
        soaked(tmp_path, small_order(kills=kills, samples=1200, seed=3))
    report = json.loads((tmp_path / "soak.json").read_text())
    assert report["breaches"][breach] > 0 and report["samples"] > 0
