"""A short run whose reward mixes maths, code and instruction rows, and what it leaves to be audited."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_runs import Finished, finish

pytestmark = pytest.mark.slow

ROWS = Path(__file__).parents[2] / "examples" / "mixed_rewards" / "rows.py"
SOURCES = {"math": "maths", "code": "code", "instruction": "ifeval"}


@pytest.fixture(scope="module")
def mixed_run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Two steps of 24 trajectories on the tiny model, which knows nothing of any of this."""
    from pangu_verl.quickstart.tiny import make_tiny_model

    folder = tmp_path_factory.mktemp("mixed")
    model = make_tiny_model(folder / "model", lessons=0)
    subprocess.run([sys.executable, str(ROWS), str(folder / "rows"), "--validation", "6"], check=True)
    overrides = [
        f"data.train_files={folder / 'rows' / 'train.parquet'}",
        f"data.val_files={folder / 'rows' / 'validation.parquet'}",
        f"actor_rollout_ref.model.path={model}",
        "data.shuffle=false",
        "data.train_batch_size=6",
        "actor_rollout_ref.actor.ppo_mini_batch_size=6",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=24",
        "actor_rollout_ref.rollout.n=4",
        "data.max_prompt_length=200",
        "pangu.rewards.terms=[repetition,truncation]",
        "trainer.total_training_steps=2",
        "trainer.test_freq=2",
        "trainer.save_freq=2",
    ]
    run = folder / "run"
    return finish(["train", "--config", "quickstart_tiny", "--run-dir", str(run), "--json", *overrides], run)


def test_each_row_is_judged_by_the_source_of_its_domain(mixed_run: Finished) -> None:
    assert mixed_run.code == 0, mixed_run.errors
    lines = [json.loads(line) for line in (mixed_run.folder / "rewards" / "verdicts.jsonl").read_text().splitlines()]
    # Two steps of 24 trajectories, and 6 rows before and after; a pipelined mode may judge more.
    assert len(lines) >= 2 * 24 + 2 * 6
    assert {(line["domain"], line["source"]) for line in lines} == set(SOURCES.items())
    assert all(line["score"] is not None for line in lines), {line["reason"] for line in lines}


def test_code_was_run_isolated_or_refused_by_name(mixed_run: Finished) -> None:
    metrics = mixed_run.metrics("mars/code/code/judged")
    assert metrics[2] >= 16


def test_components_of_each_source_are_training_metrics(mixed_run: Finished) -> None:
    for source in SOURCES.values():
        assert set(mixed_run.metrics(f"rewards/{source}/score")) == {1, 2}
        assert set(mixed_run.metrics(f"rewards/{source}/auxiliary/truncation")) == {1, 2}
        assert not mixed_run.metrics(f"rewards/{source}/auxiliary/length")
        assert mixed_run.metrics(f"rewards/{source}/judged_share") == {1: 1.0, 2: 1.0}


def test_the_state_of_rewards_is_in_the_checkpoint(mixed_run: Finished) -> None:
    found = json.loads((mixed_run.folder / "checkpoints" / "global_step_2" / "pangu_mars_state.json").read_text())
    assert {tally["source"] for tally in found["tallies"]} == set(SOURCES.values())


def test_the_report_has_the_figures_of_each_source(mixed_run: Finished) -> None:
    report = finish(["report", str(mixed_run.folder)], mixed_run.folder)
    assert report.code == 0, report.errors
    page = (mixed_run.folder / "report.html").read_text()
    for source in SOURCES.values():
        assert source in page
