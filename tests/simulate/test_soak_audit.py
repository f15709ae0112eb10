"""The auditor on evidence written by hand: what it accepts, and each thing that it has to find."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pangu_verl.queue.ledger_schema import TABLES
from pangu_verl.simulate.soak.audit import Auditor, Breach, Findings

BEGAN = {"began": {"step": -1, "version": 0, "resumption": None}}


def step(number: int, version: int, *groups: tuple[str, int, Sequence[tuple[int, int]]]) -> dict[str, Any]:
    """Groups of one trajectory: key, masked tokens, segments."""
    lines = [[key, [[masked, segments]]] for key, masked, segments in groups]
    return {"step": number, "version": version, "groups": lines, "counts": {"evicted_groups": number}}


def published(version: int) -> dict[str, Any]:
    return {"published": version}


def again(after_step: int, version: int, **resumption: int) -> dict[str, Any]:
    return {"began": {"step": after_step, "version": version, "resumption": resumption}}


def audited(
    folder: Path,
    *lives: Sequence[Mapping[str, Any]],
    position: int = 2,
    groups: Sequence[tuple[str, int, int | None]] = (),
    spent: Sequence[tuple[str, int | None]] = (),
    torn: str = "",
) -> Findings:
    """Bound 1, one group a step. ``groups`` and ``spent`` are the ledger's: key, state, step."""
    auditor = Auditor(bound_versions=1, batch_groups=1, trajectories=1)
    for number, lines in enumerate(lives):
        life = folder / f"life-{number}"
        life.write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)
        auditor.read_life(life)
    checkpoint = folder / "checkpoints" / "step-0000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "rest.json").write_text(json.dumps({"loader_position": position}))
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as connection:
        connection.executescript(TABLES)
        connection.executemany(
            "INSERT INTO groups (key, task, trajectories, admitted_version, state, attempt, consumed_step) "
            "VALUES (?, '', 1, 0, ?, 0, ?)",
            groups,
        )
        connection.executemany("INSERT INTO spent VALUES (?, ?)", spent)
        connection.commit()
    auditor.read_end(folder / "ledger.sqlite", folder / "checkpoints")
    return auditor.findings


SOUND = (BEGAN, step(0, 0, ("p0", 0, [(0, 9)])), published(1), step(1, 1, ("p1", 0, [(0, 4), (1, 5)])))
CONSUMED = [("p0", 3, 0), ("p1", 3, 1)]


def test_a_sound_run_has_no_breach(tmp_path: Path) -> None:
    found = audited(tmp_path, SOUND, groups=CONSUMED)
    assert not found.breaches.total() and found.first is None
    assert found.trained_tokens_by_lag == {0: 14, 1: 4}
    assert (found.trained_groups, found.of_lives["evicted_groups"]) == (2, 1)


def test_live_abandoned_and_pruned_groups_are_accounted_for(tmp_path: Path) -> None:
    spent = [("p0", 0), ("p3", None)]
    groups = [("p1", 3, 1), ("p2", 0, None), ("p4", 4, None), ("p5", 2, None)]
    found = audited(tmp_path, SOUND, groups=groups, spent=spent, position=6)
    assert not found.breaches.total()
    assert (found.live_groups, found.abandoned_groups) == (2, 2)


def test_every_token_over_the_bound_is_counted_and_the_first_one_named(tmp_path: Path) -> None:
    life = (*SOUND[:3], published(2), step(1, 2, ("p1", 0, [(0, 4), (1, 5)])))
    found = audited(tmp_path, life, groups=CONSUMED)
    assert found.breaches == {Breach.OVER_BOUND: 4}
    assert found.first == (
        "step 1, group 'p1', trajectory 0: 4 tokens of version 0 trained on at version 2, over the bound of 1"
    )


@pytest.mark.parametrize(("masked", "over"), [(0, 4), (1, 3), (3, 1), (4, 0), (6, 0)])
def test_masked_tokens_are_the_first_ones_and_are_not_held_against_the_bound(
    tmp_path: Path, masked: int, over: int
) -> None:
    life = (*SOUND[:3], published(2), step(1, 2, ("p1", masked, [(0, 4), (1, 5)])))
    found = audited(tmp_path, life, groups=CONSUMED)
    assert found.breaches[Breach.OVER_BOUND] == over
    assert found.masked_tokens == masked and found.trained_tokens_by_lag.total() == 18 - masked


def test_a_token_over_the_bound_counts_also_in_a_step_that_was_taken_back(tmp_path: Path) -> None:
    bad = (*SOUND[:3], published(2), step(1, 2, ("p1", 0, [(0, 4)])))
    found = audited(tmp_path, bad, (again(0, 1), step(1, 1, ("p1", 0, [(1, 5)]))), groups=CONSUMED)
    assert found.breaches == {Breach.OVER_BOUND: 4}


def test_what_a_resumption_takes_back_may_be_trained_on_again(tmp_path: Path) -> None:
    found = audited(tmp_path, SOUND, (again(0, 1, reopened_groups=1), SOUND[3]), groups=CONSUMED)
    assert not found.breaches.total()
    assert (found.resumptions, found.taken_back_groups, found.of_resumptions) == (1, 1, {"reopened_groups": 1})


def test_a_line_that_a_kill_tore_is_no_evidence(tmp_path: Path) -> None:
    assert not audited(tmp_path, SOUND, groups=CONSUMED, torn='{"step": 2, "ver').breaches.total()


def test_a_life_that_was_killed_before_it_began_says_nothing(tmp_path: Path) -> None:
    assert not audited(tmp_path, SOUND, (), groups=CONSUMED).breaches.total()


def test_a_prompt_trained_on_twice_in_the_lineage_is_found(tmp_path: Path) -> None:
    life = (*SOUND, published(2), step(2, 2, ("p1", 0, [(2, 1)])))
    found = audited(tmp_path, life, groups=[("p0", 3, 0), ("p1", 3, 2)])
    assert found.breaches == {Breach.TWICE: 1}
    assert found.first == "'p1' trained on at step 1 and again at step 2"


def test_a_prompt_that_was_trained_on_and_is_live_is_found(tmp_path: Path) -> None:
    found = audited(tmp_path, SOUND, groups=[("p0", 3, 0), ("p1", 2, None)])
    assert found.breaches == {Breach.TWICE: 1}


def test_prompts_that_are_nowhere_are_lost(tmp_path: Path) -> None:
    found = audited(tmp_path, SOUND, groups=CONSUMED, position=4)
    assert found.breaches == {Breach.LOST: 2}
    assert found.first == "2 prompts ('p2' the first) are given out by the loader, but neither trained on nor live"


def test_a_prompt_that_only_the_ledger_takes_for_consumed_is_lost(tmp_path: Path) -> None:
    found = audited(tmp_path, SOUND, groups=[*CONSUMED, ("p2", 3, 1)], position=3)
    assert found.breaches == {Breach.LOST: 1}


def test_a_prompt_that_the_loader_never_gave_out_is_found(tmp_path: Path) -> None:
    found = audited(tmp_path, SOUND, groups=[*CONSUMED, ("p2", 0, None)])
    assert found.breaches == {Breach.DISAGREEMENT: 1}


@pytest.mark.parametrize("told", [None, 0, 2])
def test_a_ledger_that_names_another_step_is_found(tmp_path: Path, told: int | None) -> None:
    found = audited(tmp_path, SOUND, groups=CONSUMED[:1], spent=[] if told is None else [("p1", told)])
    assert found.breaches == {Breach.DISAGREEMENT: 1}


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ((BEGAN, step(1, 0, ("p0", 0, [(0, 1)]))), "step 1 at version 0 where step 0 at 0 follows"),
        ((BEGAN, step(0, 1, ("p0", 0, [(0, 1)]))), "step 0 at version 1 where step 0 at 0 follows"),
        ((BEGAN, published(2)), "publishes version 2 where 1 follows"),
        ((BEGAN, step(0, 0)), "step 0 has 0 groups, not 1"),
        ((BEGAN, {"step": 0, "version": 0, "groups": [["p0", []]], "counts": {}}), "has 0 trajectories, not 1"),
        ((BEGAN, step(0, 0, ("p0", 0, [(1, 1)]))), "tokens of version 1 at version 0"),
        ((again(3, 0),), "goes on from step 3"),
        ((again(-1, 2),), "version 2, which no life before it reached"),
        ((*SOUND, published(2), published(3), again(1, 3)), "goes on at version 3 after a step at version 1"),
    ],
)
def test_evidence_that_does_not_fit_together_is_found(
    tmp_path: Path, lines: Sequence[Mapping[str, Any]], sentence: str
) -> None:
    found = audited(tmp_path, lines)
    assert found.breaches[Breach.DISAGREEMENT] > 0
    assert sentence in str(found.first)
