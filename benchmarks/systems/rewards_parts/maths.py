"""Maths answers with labels: agreement, recall, false accepts, verdicts per CPU second, the dearest verdict.

Rows marked "contested" or "suspect" have doubtful labels, and some cases of Math-Verify pin an option that our source
does not have; all of these are counted apart. Every grader judges every row once for agreement and cost. Speed is taken
in passes of their own, over the rows in random order, in short turns.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import FILES_BY_PART, OURS, SEED
from .maths_graders import OurMaths, Peer, Row, peers_for
from .measuring import CpuMeter, in_turn, median_ratio, spread

#: Options of Math-Verify that our source answers in one way only.
OTHER_OPTIONS = ("allow_set_relation_comp", "strict")
ROWS_A_TURN = 100
#: Of CPU time in one pass, so that a slow grader does not make the benchmark last for hours.
PASS_SECONDS = 6.0


@dataclass(slots=True)
class Measured:
    """One grader on one file: ``passed`` and ``cpu_seconds`` by row, ``rates`` by pass in rows per CPU second."""

    name: str
    judge: Callable[[Row], Awaitable[bool | None]]
    passed: list[bool | None] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


def measure(data: Path, repeats: int) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    for file in FILES_BY_PART["maths"]:
        lines = (data / file).read_text(encoding="utf-8").splitlines()
        results += asyncio.run(measure_file(file, [json.loads(line) for line in lines], repeats))
    return {"results": results}


async def measure_file(file: str, rows: Sequence[Row], repeats: int) -> list[dict[str, Any]]:
    source = OurMaths()
    await source.start()
    graders = [Measured(source.name, source.judge), *(Measured(peer.name, _asked(peer)) for peer in peers_for(file))]
    meter = CpuMeter()
    try:
        for grader in graders:
            await _judge_all(grader, rows, meter, source)
        for repeat in range(repeats):
            await _timed_pass(in_turn(graders, repeat), rows, meter, repeat)
    finally:
        source.close()
    return [_figures(file, rows, grader, graders[0].rates) for grader in graders]


def _asked(peer: Peer) -> Callable[[Row], Awaitable[bool | None]]:
    async def judge(row: Row) -> bool | None:
        return peer.judge(row["gold"], row["prediction"])

    return judge


async def _judge_all(grader: Measured, rows: Sequence[Row], meter: CpuMeter, source: OurMaths) -> None:
    before = meter.seconds()
    for row in rows:
        num_looks = meter.num_looks
        grader.passed.append(await grader.judge(row))
        now = meter.seconds()
        grader.cpu_seconds.append(now - before)
        if meter.num_looks > num_looks:  # a child was ended: the imports of the next one are no verdict's cost
            await source.start()
            now = meter.seconds()
        before = now


async def _timed_pass(graders: Sequence[Measured], rows: Sequence[Row], meter: CpuMeter, repeat: int) -> None:
    shuffled = random.Random(SEED + repeat).sample(rows, len(rows))
    num_judged, seconds = [0] * len(graders), [0.0] * len(graders)
    for first in range(0, len(rows), ROWS_A_TURN):
        turn = shuffled[first : first + ROWS_A_TURN]
        for index, grader in enumerate(graders):
            if seconds[index] >= PASS_SECONDS:
                continue
            before = meter.seconds()
            for row in turn:
                await grader.judge(row)
            seconds[index] += meter.seconds() - before
            num_judged[index] += len(turn)
    for grader, num_rows, spent in zip(graders, num_judged, seconds, strict=True):
        grader.rates.append(num_rows / max(spent, 1e-9))


def _figures(file: str, rows: Sequence[Row], grader: Measured, our_rates: Sequence[float]) -> dict[str, Any]:
    labels = [bool(row["expected"]) for row in rows]
    sure = [index for index, row in enumerate(rows) if not _is_doubtful(row)]
    right = [index for index in sure if labels[index]]
    false_accepts = [str(rows[index]["id"]) for index in sure if grader.passed[index] and not labels[index]]
    agreeing = [index for index in range(len(rows)) if bool(grader.passed[index]) == labels[index]]
    return {
        "file": Path(file).name,
        "grader": grader.name,
        "rows": len(rows),
        "doubtful": len(rows) - len(sure),
        "agreeing": len(agreeing),
        "agreement": len(set(agreeing) & set(sure)) / max(len(sure), 1),
        "recall": sum(grader.passed[index] is True for index in right) / max(len(right), 1),
        "false_accepts": len(false_accepts),
        "false_accept_ids": false_accepts[:20],
        "unjudged": sum(value is None for value in grader.passed),
        "verdicts_per_cpu_second": spread(grader.rates),
        "our_speed_by_theirs": None if grader.name == OURS else median_ratio(our_rates, grader.rates),
        "longest_cpu_seconds": max(grader.cpu_seconds),
    }


def _is_doubtful(row: Row) -> bool:
    pinned = any((row.get("params") or {}).get(option) is False for option in OTHER_OPTIONS)
    return bool(row.get("contested") or row.get("suspect") or pinned)


def table(figures: dict[str, Any]) -> list[list[object]]:
    heading = ["file", "grader", "rows", "agree, all", "agree, sure", "recall", "false +", "none", "per CPU s",
               "ours by theirs", "max CPU s"]  # fmt: skip
    return [heading] + [
        [
            result["file"],
            result["grader"],
            result["rows"],
            result["agreeing"],
            result["agreement"],
            result["recall"],
            result["false_accepts"],
            result["unjudged"],
            result["verdicts_per_cpu_second"]["median"],
            result["our_speed_by_theirs"],
            result["longest_cpu_seconds"],
        ]
        for result in figures["results"]
    ]
