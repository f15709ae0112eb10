"""The sentence that a command prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pangu_verl.report import outcome_sentence


def sentence(runs: Any, **facts: Any) -> str:
    before, after = ([runs.row(f"q{index}", index < right) for index in range(40)] for right in (12, 26))
    return outcome_sentence(runs.make(facts=facts, validation={0: before, 4: after}))


def test_the_rows_of_the_quickstart_are_unseen(runs: Any) -> None:
    text = sentence(runs, name="quickstart", command=["pangu-verl", "quickstart", "trainer.test_freq=4"])
    assert text.startswith("Accuracy on 40 unseen validation rows went from 0.30 to 0.65: +35 points")


@pytest.mark.parametrize("facts", [{"name": "train"}, {"name": "Quickstart"}, {}])
def test_of_the_rows_of_another_run_nothing_is_known(runs: Any, facts: dict[str, Any]) -> None:
    assert sentence(runs, **facts).startswith("Accuracy on 40 validation rows went")


@pytest.mark.parametrize("override", ["data.val_files=mine.parquet", "++data.train_files=[a,b]"])
def test_of_the_users_own_rows_nothing_is_known(runs: Any, override: str) -> None:
    assert "unseen" not in sentence(runs, name="quickstart", command=["pangu-verl", "quickstart", override])


def test_one_row_is_one_row(runs: Any) -> None:
    folder = runs.make(facts={"name": "quickstart"}, validation={0: [runs.row("q", True)]})
    assert outcome_sentence(folder) == (
        "Accuracy before training was 1.00 on 1 unseen validation row; there is no validation after training yet."
    )


def test_a_run_that_has_only_begun_has_a_sentence_as_well(runs: Any) -> None:
    folder: Path = runs.make(metrics=None)
    assert outcome_sentence(folder) == "Nothing can be said of accuracy: no validation row was judged."
