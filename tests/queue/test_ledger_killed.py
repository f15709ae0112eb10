"""A ledger whose process is killed: before every statement, in the middle of writing, and while it is being created.

What was acknowledged is there, what was not is there whole or not at all, and nothing is there twice.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from queue_killing import kill_at_byte, kill_self, run_in_child
from queue_ledgers import RUN, HandClock, admit, contents, lease, new_ledger, opened, trajectory

from pangu_verl.queue.ledger import Durability, Ledger
from pangu_verl.queue.ledger_completion import Completion
from pangu_verl.queue.ledger_store import open_store


def complete(ledger: Ledger, key: str, *members: int, attempt: int = 0) -> None:
    ledger.complete_many([Completion(key, member, trajectory(), attempt) for member in members])


def consume_and_publish(ledger: Ledger) -> None:
    """As a training step does: one commit for what belongs together."""
    with ledger.transaction():
        ledger.consume(["g0"], 1)
        ledger.publish(1)
        admit(ledger, [3, 4])


OPERATIONS: tuple[Callable[[Ledger], object], ...] = (
    lambda ledger: admit(ledger, [0, 1, 2]),
    lambda ledger: lease(ledger, "g0", "g1"),
    lambda ledger: complete(ledger, "g0", 0, 1),
    lambda ledger: complete(ledger, "g1", 1),
    consume_and_publish,
    lambda ledger: ledger.reopen(["g1"], "evicted"),
    lambda ledger: ledger.reprioritise({"g1": 3.0, "g2": 1.0}),
    lambda ledger: ledger.select_and_lease(2, "rollout", 60.0, 1),
    lambda ledger: complete(ledger, "g1", 0, 1, attempt=1),
    lambda ledger: ledger.snapshot(ledger.path.parent, 1),
    lambda ledger: ledger.abandon(["g2"], "tired"),
)


def seen(ledger: Ledger) -> tuple[Any, ...]:
    """All that a commit may change."""
    waiting = [each.key for each in ledger.waiting(9)]
    return contents(ledger), ledger.counts(), ledger.counters(), ledger.version, waiting


@pytest.fixture(scope="module")
def after_each(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """What there is to see after each operation of an undisturbed run. A snapshot prunes in a commit of its own."""
    with new_ledger(tmp_path_factory.mktemp("undisturbed") / "ledger.sqlite") as ledger:
        stages = [seen(ledger)]
        for operation in OPERATIONS:
            operation(ledger)
            stages.append(seen(ledger))
    return stages


@pytest.fixture
def acknowledged() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    os.set_blocking(ends[0], False)
    yield ends
    for end in ends:
        os.close(end)


def num_acknowledged(ends: tuple[int, int]) -> int:
    try:
        return len(os.read(ends[0], 1000))
    except BlockingIOError:
        return 0


def check(path: Path, num_done: int, after_each: list[tuple[Any, ...]]) -> None:
    with opened(path) as ledger:
        found = seen(ledger)
    assert found in after_each[num_done : num_done + 2]


@pytest.mark.parametrize("durability", Durability)
def test_killed_before_any_statement_nothing_is_lost_or_doubled(
    tmp_path: Path, durability: Durability, after_each: list[tuple[Any, ...]], acknowledged: tuple[int, int]
) -> None:
    num_statements = 0
    num_kills = 0
    while True:
        path = tmp_path / f"ledger_{num_statements}.sqlite"
        new_ledger(path).close()

        def work(path: Path = path, fatal: int = num_statements) -> None:
            store = open_store(path, RUN, durability)
            ledger = Ledger(store, HandClock())
            statements = iter(range(1_000_000))
            store.connection.set_trace_callback(lambda _: kill_self() if next(statements) == fatal else None)
            for operation in OPERATIONS:
                operation(ledger)
                os.write(acknowledged[1], b".")

        killed_by = run_in_child(work)
        check(path, num_acknowledged(acknowledged), after_each)
        if not killed_by:
            break
        num_kills += 1
        num_statements += 1
    assert num_kills > 50


def test_killed_in_the_middle_of_a_write_nothing_is_lost_or_doubled(
    tmp_path: Path, after_each: list[tuple[Any, ...]], acknowledged: tuple[int, int]
) -> None:
    """The kernel kills at a byte: the write that crosses it is torn there."""
    num_kills = 0
    for limit_bytes in range(500, 1_000_000, 2311):
        path = tmp_path / f"ledger_{limit_bytes}.sqlite"
        new_ledger(path).close()

        def work(path: Path = path, limit_bytes: int = limit_bytes) -> None:
            ledger = opened(path)
            kill_at_byte(limit_bytes)
            for operation in OPERATIONS:
                operation(ledger)
                os.write(acknowledged[1], b".")

        killed_by = run_in_child(work)
        assert killed_by in (0, signal.SIGXFSZ)
        check(path, num_acknowledged(acknowledged), after_each)
        if not killed_by:
            break
        num_kills += 1
    assert num_kills > 20


def test_killed_while_a_ledger_is_created_there_is_a_whole_one_or_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    num_kills = 0
    for limit_bytes in range(0, 1_000_000, 1733):

        def work(limit_bytes: int = limit_bytes) -> None:
            kill_at_byte(limit_bytes)
            new_ledger(path).close()

        killed_by = run_in_child(work)
        if path.exists():
            opened(path).close()
        if not killed_by:
            break
        num_kills += 1
    assert num_kills > 5
    with opened(path) as ledger:
        admit(ledger, [0])
