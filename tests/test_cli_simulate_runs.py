"""``pangu-verl simulate --recommend`` and ``--soak`` as their users call them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pangu_verl import cli, simulation_runs
from pangu_verl.errors import RunFailed
from pangu_verl.simulate.soak.folder import SoakFolder

SIZE = ("--batch-groups", "4", "--trajectories", "2")
ADVICE = ("--recommend", *SIZE, "--steps", "4", "--least-length-ratio", "0.5")
SOAK = ("--soak", *SIZE, "--samples", "80", "--kills", "1")


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is played here is over before a second process would have started."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0})


def call(*arguments: object) -> Any:
    return CliRunner().invoke(cli.app, ["simulate", *map(str, arguments)])


def last_object(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def stop_after(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException) -> None:
    """The results of a search come to an end."""
    append: Callable[..., None] = simulation_runs._append
    seen: list[object] = []

    def fail(*arguments: Any) -> None:
        append(*arguments)
        seen.append(arguments)
        if len(seen) == number:
            raise error

    monkeypatch.setattr(simulation_runs, "_append", fail)


@pytest.fixture(scope="module")
def advised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs") / "advice"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.sched_getaffinity", lambda process: {0})
        answer = call(*ADVICE, "--run-dir", folder, "--json")
    assert answer.exit_code == 0, answer.output
    return folder, last_object(answer)


def test_advice_leaves_results_a_record_and_a_page(advised: tuple[Path, dict[str, Any]]) -> None:
    folder, found = advised
    assert {"policy", "options", "staleness_bound", "window_groups", "rollout_share", "limits", "outlook"} <= set(found)
    assert json.loads((folder / "recommendation.json").read_text())["policy"] == found["policy"]
    assert "What suits this cluster" in (folder / "report.html").read_text()
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"
    assert len((folder / "results.jsonl").read_text().splitlines()) > 50


def test_advice_that_was_interrupted_goes_on_to_the_same_end(
    tmp_path: Path, advised: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 30, KeyboardInterrupt())
        stopped = call(*ADVICE, "--run-dir", tmp_path)
    assert stopped.exit_code == 1
    assert stopped.stderr.strip() == "pangu-verl: interrupted; go on with --resume and the same --run-dir"
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "interrupted"
    results = tmp_path / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-9])
    answer = call(*ADVICE, "--run-dir", tmp_path, "--resume", "--json")
    assert answer.exit_code == 0
    assert {**last_object(answer), "run_dir": ""} == {**advised[1], "run_dir": ""}
    lines = results.read_text().splitlines()
    assert len(lines) == len((advised[0] / "results.jsonl").read_text().splitlines()) + 1


def test_a_full_disk_is_one_line_that_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(monkeypatch, 3, OSError(28, "No space left on device"))
    answer = call(*ADVICE, "--run-dir", tmp_path)
    assert answer.exit_code == 1
    assert "No space left on device" in answer.stderr
    assert "--resume" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        (("--trace", "heavy"), "trace 'mid', not 'heavy'"),
        (("--steps", "5"), "steps 4, not 5"),
        (("--least-length-ratio", "0.6"), "least_length_ratio 0.5, not 0.6"),
        (("--train-to-rollout-ratio", "1"), "train_to_rollout_ratio 0.5, not 1"),
    ],
)
def test_another_order_in_the_same_folder_is_refused_by_name(
    advised: tuple[Path, dict[str, Any]], changed: tuple[str, ...], name: str
) -> None:
    answer = call(*ADVICE, *changed, "--run-dir", advised[0], "--resume")
    assert answer.exit_code == 2
    assert name in answer.stderr


def test_a_trace_that_holds_other_lengths_is_another_order(tmp_path: Path) -> None:
    trace = tmp_path / "lengths.jsonl"
    trace.write_text('{"prompt": "a", "tokens": 5}\n')
    folder = tmp_path / "run"
    arguments = (*ADVICE, "--trace", trace, "--run-dir", folder)
    assert call(*arguments).exit_code == 0
    trace.write_text('{"prompt": "a", "tokens": 6}\n')
    answer = call(*arguments, "--resume")
    assert answer.exit_code == 2
    assert "trace_sha256" in answer.stderr


def test_a_cluster_file_may_move_but_not_change(tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("devices: 4\nslots_per_device: 2\ntrain_tokens_per_s: 100\n")
    folder = tmp_path / "run"
    arguments = (*ADVICE, "--run-dir", folder, "--cluster")
    assert call(*arguments, cluster).exit_code == 0
    cluster = cluster.rename(tmp_path / "moved.yaml")
    assert call(*arguments, cluster, "--resume").exit_code == 0
    cluster.write_text("devices: 5\nslots_per_device: 2\ntrain_tokens_per_s: 100\n")
    assert call(*arguments, cluster, "--resume").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((*ADVICE, "--policy", "wait"), "--policy: --recommend finds that itself; leave it out"),
        (
            (*ADVICE, "--staleness", "3", "--option", "a=1"),
            "--staleness, --option: --recommend finds that itself; leave them out",
        ),
        ((*ADVICE, "--least-length-ratio", "2"), "--least-length-ratio lies in 0..1"),
        ((*ADVICE, "--trace", "hard"), "unknown trace 'hard'"),
        ((*ADVICE, "--cluster", "no.yaml"), "no.yaml: expected a YAML file"),
        ((*ADVICE, "--window", "2"), "window_groups=2 can never fill a batch of 4"),
        ((*ADVICE, "--resume"), "name its folder with --run-dir"),
        ((*SOAK, "--trace", "heavy"), "--trace: --soak has a cluster and a trace of its own"),
        ((*SOAK, "--policy", "sync"), "a soak runs our own policies"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_leaves_no_folder(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(*arguments)
    assert answer.exit_code == 2
    assert message in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_impossible_cluster_is_one_line_with_file_and_field(tmp_path: Path) -> None:
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("devices: 1\nslots_per_device: 2\ntrain_tokens_per_s: 100\n")
    answer = call(*ADVICE, "--cluster", cluster)
    assert answer.exit_code == 2
    assert f"{cluster}: field 'devices'" in answer.stderr


def test_a_folder_that_holds_something_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    answer = call(*ADVICE, "--run-dir", tmp_path)
    assert answer.exit_code == 2
    assert "is not empty" in answer.stderr


def test_a_soak_that_holds_ends_with_its_counts_and_a_page(tmp_path: Path) -> None:
    answer = call(*SOAK, "--run-dir", tmp_path, "--json")
    assert answer.exit_code == 0, answer.output
    found = last_object(answer)
    assert found["failed"] is False
    assert set(found["breaches"].values()) == {0}
    assert found["samples"] >= 80
    assert "A soak of scheduler and ledger" in (tmp_path / "report.html").read_text()
    again = call(*SOAK, "--run-dir", tmp_path, "--resume")
    assert again.exit_code == 0
    assert "the soak holds" in again.stdout
    assert f"report: {tmp_path / 'report.html'}" in again.stdout
    other = call(*SOAK, "--kills", "2", "--run-dir", tmp_path, "--resume")
    assert other.exit_code == 2
    assert "kills 1, not 2" in other.stderr


def test_a_breach_is_a_result_with_a_page_and_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(*SOAK, "--kills", "0", "--run-dir", tmp_path).exit_code == 0
    place = SoakFolder(tmp_path / "soak")
    found = json.loads(place.report.read_text())

    def breach(*_: Any) -> None:
        told = {**found, "first_breach": "p7 was lost", "breaches": {**found["breaches"], "lost_prompts": 1}}
        place.report.write_text(json.dumps(told))
        raise RunFailed("the soak found a breach")

    monkeypatch.setattr(simulation_runs, "resume_soak", breach)
    answer = call(*SOAK, "--kills", "0", "--run-dir", tmp_path, "--resume")
    assert answer.exit_code == 1
    assert "the soak found a breach: p7 was lost" in answer.stdout
    assert "p7 was lost" in (tmp_path / "report.html").read_text()


def test_a_soak_that_fails_without_a_breach_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RunFailed("life 0 of the soak's worker ended with exit code 3")

    monkeypatch.setattr(simulation_runs, "run_soak", fail)
    answer = call(*SOAK, "--run-dir", tmp_path)
    assert answer.exit_code == 1
    assert "exit code 3" in answer.stderr


def test_the_files_in_the_documentation_can_be_read(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "scheduling.md").read_text()
    blocks = {kind: text.split(f"```{kind}\n")[1].split("```")[0] for kind in ("yaml", "jsonl")}
    for kind, block in blocks.items():
        (tmp_path / f"file.{kind}").write_text(block)
    files = ("--cluster", tmp_path / "file.yaml", "--trace", tmp_path / "file.jsonl")
    assert call(*files, *SIZE, "--steps", "2").exit_code == 0
