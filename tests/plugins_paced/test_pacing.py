"""The description of a paced run, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pangu_verl_paced import pacing as module
from pangu_verl_paced.pacing import Pacing, pacing, read_pacing
from pangu_verl_paced.prompts import number_of, write_prompts

from pangu_verl.errors import RunFailed, WrongUse


def test_time_is_played_faster_by_the_scale(pacing: Pacing) -> None:
    assert pacing.wall_s(50) == 0.5
    assert pacing.played_s(0.5) == 50


def test_a_token_is_trained_on_by_all_devices_of_the_trainer(pacing: Pacing) -> None:
    assert 3_000 * pacing.train_s == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"time_scale": 0}, "time_scale"),
        ({"trainer_devices": 5}, "trainer_devices=5 are more than the cluster's 4"),
        ({"lengths": {"trace": "wild", "mean_tokens": 5}}, "lengths.trace='wild' is unknown; take mild, mid, heavy"),
        ({"rates_from": None}, "rates_from"),
        ({"speed": 1}, "unknown field"),
    ],
)
def test_what_cannot_be_is_refused_by_file_and_field(
    describe: Callable[..., Path], changes: dict[str, Any], complaint: str
) -> None:
    file = describe(**changes)
    with pytest.raises(WrongUse, match=complaint) as raised:
        read_pacing(file)
    assert str(file) in str(raised.value)


def test_a_run_without_a_description_is_refused_by_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.VARIABLE, raising=False)
    with pytest.raises(WrongUse, match=f"{module.VARIABLE} is not set"):
        pacing()


def test_a_file_that_is_no_yaml_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("cluster: [")
    with pytest.raises(WrongUse, match=r"broken\.yaml: expected a YAML file"):
        read_pacing(file)


def test_prompts_carry_their_place_through_any_template(tmp_path: Path) -> None:
    import pandas as pd

    rows = pd.read_parquet(write_prompts(tmp_path / "rows.parquet", 20))
    assert [number_of(f"<|user|>9 {row[0]['content']}<|end|>7") for row in rows["prompt"]] == list(range(20))


def test_another_prompt_is_refused_with_what_to_do() -> None:
    with pytest.raises(RunFailed, match="got 'What is 2'; make them with write_prompts"):
        number_of("What is 2")
