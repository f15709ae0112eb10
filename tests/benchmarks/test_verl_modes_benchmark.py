"""The benchmark of trainer modes: its arithmetic, the order of its runs, what is resumed, and what it is held to."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins" / "pangu-verl-paced"))

from pangu_verl_paced.journal import TrainedBatch

from pangu_verl.errors import RunFailed

FOLDER = Path(__file__).parents[2] / "benchmarks" / "systems"


def loaded(name: str) -> ModuleType:
    """A package of the benchmarks' folder, which must not be on the path: it holds a module named queue."""
    if name in sys.modules:
        return sys.modules[name]
    file = FOLDER / name / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


loaded("scheduler_parts")
parts = loaded("verl_modes_parts")
comparing, drawing, matrix, measuring, modes, predicting, running, scenarios, section = (
    importlib.import_module(f"verl_modes_parts.{name}")
    for name in (
        "comparing",
        "drawing",
        "matrix",
        "measuring",
        "modes",
        "predicting",
        "running",
        "scenarios",
        "section",
    )
)
SIZE = parts.Size(replicas=4, slots_per_replica=4, batch_groups=4)
SCALE = parts.Scale(
    sizes=(SIZE,), repeats=2, first_steps=1, measured_steps=3, measured_steps_sync=2, ceiling_step_s=2.0
)
ALL = [*modes.unswept(), *modes.swept((1.0,))]


def scenario(steps: int = 4) -> Any:
    return scenarios.scenario_of(SIZE, scenarios.cluster_of(SIZE), seed=0, steps=steps)


def batch(ended_s: float, by_version: dict[int, int], processor_s: float = 0.0) -> TrainedBatch:
    return TrainedBatch(
        began_s=ended_s - 1,
        ended_s=ended_s,
        trajectories=16,
        forwarded_tokens=sum(by_version.values()),
        trained_tokens_by_version=by_version,
        processor_s=processor_s,
    )


def result(mode: Any, fresh: float, length: float = 0.9, **more: Any) -> dict[str, Any]:
    told = {
        "size": SIZE.name,
        "side": mode.side,
        "mode": mode.name,
        "family": mode.family,
        "poll_s": mode.poll_s,
        "seed": 0,
    }
    figures = {
        "fresh_token_share": fresh,
        "ceiling_share": fresh,
        "trained_length_ratio": length,
        "step_s": 2.0,
        "processor_share": 0.4,
        "prediction_error": 0.02,
        "predicted": {"fresh_token_share": fresh},
        "max_trained_lag": 2,
        "is_discarded": False,
    }
    return {"told": told | {"seed": more.pop("seed", 0)}, **figures, **more}


def mode_named(name: str) -> Any:
    return next(mode for mode in [*modes.unswept(), *modes.swept()] if mode.name == name)


class TestFigures:
    def test_a_run_without_idle_time_that_trains_on_all_is_at_the_ceiling(self) -> None:
        workload = scenario().workload
        ceiling_s = workload.rollout_s(scenario().cluster) + workload.train_s(scenario().cluster)
        steps = [measuring.Step(ceiling_s * place, 16, round(workload.tokens)) for place in range(1, 5)]
        found = measuring.measured(steps, 1, scenario())
        assert [found[name] for name in ("ceiling_share", "fresh_token_share", "trained_length_ratio")] == [
            pytest.approx(1.0, rel=1e-3)
        ] * 3

    def test_lags_are_counted_from_the_step_that_trains_to_the_version_that_made_a_token(self) -> None:
        batches = [batch(1, {0: 9}), batch(2, {0: 9, 1: 1}), batch(3, {0: 1, 2: 9}), batch(4, {3: 9})]
        assert measuring.of_run(batches, 1, 4, scenario(), 1.0)["max_trained_lag"] == 2

    def test_a_run_that_takes_too_much_of_the_machine_is_discarded(self) -> None:
        import psutil

        cores = psutil.cpu_count() or 1
        for share, is_discarded in ((0.6, False), (0.8, True)):
            batches = [batch(place, {0: 9}, processor_s=share * cores * place) for place in range(1, 5)]
            assert measuring.of_run(batches, 1, 4, scenario(), 1.0)["is_discarded"] is is_discarded

    def test_a_run_that_trained_fewer_steps_is_no_figure(self) -> None:
        with pytest.raises(RunFailed, match="was to train 4 steps and trained 1"):
            measuring.of_run([batch(1, {0: 9})], 1, 4, scenario(), 1.0)


class TestScenario:
    def test_training_and_decoding_stand_in_the_ratio_that_is_said(self) -> None:
        workload, cluster = scenario().workload, scenario().cluster
        ratio = workload.train_s(cluster) / workload.rollout_s(cluster)
        assert ratio == pytest.approx(parts.TRAIN_TO_ROLLOUT_RATIO)

    def test_run_and_simulation_are_told_the_same_cluster_and_lengths(self, tmp_path: Path) -> None:
        told = scenarios.pacing_of(SIZE, takes_turns=False, seed=3, ceiling_step_s=2.0, journal=tmp_path)
        simulated = scenarios.scenario_of(SIZE, scenarios.cluster_of(SIZE), seed=3, steps=4)
        assert told.cluster == simulated.cluster
        trace = told.trace(parts.TRAJECTORIES)
        assert [trace.responses(prompt, 0).tokens for prompt in range(9)] == [
            simulated.trace.responses(prompt, 0).tokens for prompt in range(9)
        ]

    def test_all_devices_are_used_whether_split_or_in_turn(self, tmp_path: Path) -> None:
        split = scenarios.pacing_of(SIZE, takes_turns=False, seed=0, ceiling_step_s=2.0, journal=tmp_path)
        turns = scenarios.pacing_of(SIZE, takes_turns=True, seed=0, ceiling_step_s=2.0, journal=tmp_path)
        assert scenarios.rollout_replicas(SIZE) + split.trainer_devices == SIZE.replicas
        assert turns.trainer_devices == SIZE.replicas

    @pytest.mark.parametrize("mode", [mode for mode in ALL if mode.simulated], ids=lambda mode: mode.name)
    def test_every_mode_can_be_simulated_and_stays_below_the_ceiling(self, mode: Any) -> None:
        found = predicting.predicted(mode, SIZE, SCALE, seed=0, steps=6)
        assert found["fresh_token_share"] > 0
        assert 0 < found["ceiling_share"] <= 1.3, "lengths of a few steps are not quite the mean"
        assert found["step_s"] == pytest.approx(SCALE.ceiling_step_s / found["ceiling_share"])


class TestOrder:
    def run(self, shares: dict[str, float], **options: Any) -> list[Any]:
        """The cells in the order in which they ran, with made figures."""
        ran: list[Any] = []

        def one(cell: Any) -> dict[str, Any]:
            ran.append(cell)
            return result(cell.mode, shares.get(cell.mode.name, 0.5), seed=cell.seed)

        matrix.run_all(matrix.Matrix(SCALE, **options), one, lambda *_: None)
        return ran

    def test_a_swept_mode_is_repeated_with_the_warm_up_that_was_its_best(self) -> None:
        ran = self.run({"separate_async drop, warm-up 1.5": 0.9})
        repeated = [cell.mode.name for cell in ran if cell.seed == 1 and cell.mode.poll_s == modes.SHORT_POLL_S]
        assert [name for name in repeated if name.startswith("separate_async drop")] == [
            "separate_async drop, warm-up 1.5"
        ]

    def test_modes_take_turns_within_a_repeat(self) -> None:
        seeds = [cell.seed for cell in self.run({}) if cell.mode.poll_s == modes.SHORT_POLL_S]
        assert seeds == sorted(seeds)

    def test_verl_runs_with_its_own_poll_as_well_and_ours_has_none(self) -> None:
        stock = [cell.mode for cell in self.run({}) if cell.mode.poll_s == modes.STOCK_POLL_S]
        assert {mode.family for mode in stock} == {mode.family for mode in ALL if mode.is_polled}
        assert all("trainer.v1.sampler.custom_sampler.path=null" in mode.overrides for mode in stock)

    def test_no_more_cells_run_than_are_counted(self) -> None:
        assert len(self.run({})) == matrix.Matrix(SCALE).num_cells()

    def test_only_modes_that_are_named_run(self) -> None:
        assert {cell.mode.name for cell in self.run({}, chosen=["pangu_ssp mask"])} == {"pangu_ssp mask"}

    def test_a_finished_run_is_taken_from_its_folder_and_a_discarded_or_other_one_is_not(self, tmp_path: Path) -> None:
        cell = running.Cell(size=SIZE, mode=modes.OURS[0], seed=0)
        assert running.finished(cell, SCALE, tmp_path) is None
        place = tmp_path / cell.file_name
        place.mkdir()
        figures = {"told": running._told(cell, SCALE), "is_discarded": False}
        (place / "figures.json").write_text(json.dumps(figures))
        assert running.finished(cell, SCALE, tmp_path) == figures
        assert running.finished(cell, parts.QUICK, tmp_path) is None
        (place / "figures.json").write_text(json.dumps(figures | {"is_discarded": True}))
        assert running.finished(cell, SCALE, tmp_path) is None


class TestTargets:
    def targets(self, *results: dict[str, Any]) -> dict[str, Any]:
        found = comparing.compared(comparing.rows_of(results))
        return {target.name.split(": ")[1].split(" (")[0]: target for target in found}

    def test_ours_count_beside_verl_only_with_lengths_no_shorter(self) -> None:
        best = result(mode_named("separate_async drop, warm-up 1"), 0.6, length=0.8)
        short = result(modes.OURS[0], 0.9, length=0.7)
        long = result(modes.OURS[1], 0.66, length=0.8)
        sync = result(mode_named("sync"), 0.33, length=1.0)
        found = self.targets(best, short, long, sync)
        assert found["fresh tokens of ours, by those of the best of verl's"].measured == pytest.approx(1.1)
        assert found["fresh tokens of ours, by those of sync"].measured == pytest.approx(2.0)

    def test_discarded_and_failed_runs_are_counted_and_no_part_of_a_figure(self) -> None:
        mode = modes.OURS[0]
        failed = {"told": result(mode, 0.0)["told"], "error": "it died"}
        (row,) = comparing.rows_of([result(mode, 0.5), result(mode, 0.9, is_discarded=True), failed])
        assert (row["runs"], row["discarded"], row["failed"]) == (1, 1, 1)
        assert row["fresh_token_share"] == 0.5

    def test_a_mode_of_verl_that_breaks_the_bound_is_not_compared_with(self) -> None:
        best = result(mode_named("separate_async drop, warm-up 1"), 0.5)
        over = result(modes.FULLY_ASYNC, 0.9, max_trained_lag=3, predicted=None, prediction_error=None)
        found = self.targets(best, over, result(modes.OURS[0], 0.6), result(mode_named("sync"), 0.3))
        assert found["fresh tokens of ours, by those of the best of verl's"].measured == pytest.approx(1.2)

    def test_a_lag_over_the_bound_is_a_target_missed(self) -> None:
        found = self.targets(result(modes.OURS[0], 0.5, max_trained_lag=3))
        assert not found["largest lag that ours trained on, versions"].met

    def test_section_and_figure_say_that_compute_is_paced(self, tmp_path: Path) -> None:
        unforeseen = result(modes.FULLY_ASYNC, 0.4, predicted=None, prediction_error=None)
        rows = comparing.rows_of(
            [result(modes.OURS[0], 0.5), unforeseen, {"told": result(mode_named("sync"), 0)["told"], "error": "x"}]
        )
        path = tmp_path / "verl_modes_1.json"
        drawing.drawn(rows, path.with_suffix(".svg"))
        record = {
            "notice": "compute is paced",
            "rows": rows,
            "targets": [target.to_json() for target in comparing.compared(rows)],
            "settings": {
                "repeats": 1,
                "bound_versions": 2,
                "trajectories": 4,
                "trace": "mid",
                "mean_tokens": 256,
                "train_to_rollout_ratio": 0.5,
                "measured_steps": 3,
                "measured_steps_sync": 2,
                "first_steps": 1,
                "ceiling_step_s": 2.0,
                "rates_from": "made up",
                "most_processor_share": 0.7,
            },
            "commit": "0" * 40,
            "has_local_changes": False,
            "versions": {"python": "3.11", "verl": "0.9.1"},
            "machine": {"cores": 2, "processor": "any"},
        }
        text = section.section(record, path)
        assert text.startswith("**Compute is paced.**")
        assert "results/verl_modes_1.svg" in text
        assert "paced compute" in path.with_suffix(".svg").read_text()
        assert not math.isnan(rows[0]["fresh_token_share"])


def test_the_overrides_of_every_mode_are_known_to_verl(tmp_path: Path) -> None:
    """Composed as a run composes them; nothing is started."""
    from pangu_verl.integrations.verl.configuration import compose

    inputs = running.Inputs(tmp_path)
    for mode in [*ALL, modes.with_stock_poll(mode_named("sync"))]:
        if mode is modes.FULLY_ASYNC:
            continue
        cell = running.Cell(size=SIZE, mode=mode, seed=0)
        pacing = scenarios.pacing_of(
            SIZE, takes_turns=mode.takes_turns, seed=0, ceiling_step_s=2.0, journal=tmp_path / "journal.jsonl"
        )
        config = compose("ppo", running._overrides(cell, inputs, pacing))
        assert config.trainer.v1.trainer_mode == mode.trainer_mode
