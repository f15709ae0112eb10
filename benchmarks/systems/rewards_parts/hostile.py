"""Answers made to hang, to fill memory or to break a parser: what a verdict on each costs, and whether it is paid.

All of them are wrong. Ours runs as it does in training. The others run in a child that is ended after ``LIMITS``, since
some have no limit of their own; a grader that had to be ended is counted as such. ``prime_math`` is left out: it leaves
processes of its own behind when it is ended.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pangu_verl.mars.killable import CallFailed, KillableFunction, LimitExceeded, Limits

from . import HARD_VERIFY, OURS
from .maths_graders import OurMaths, peers_for
from .measuring import CpuMeter

LIMITS = Limits(cpu_seconds=20.0, wall_seconds=120.0, memory_bytes=16 << 30)
_LEFT_OUT = "verl prime_math"


@dataclass(frozen=True, slots=True)
class Hostile:
    name: str
    gold: str
    response: str


def boxed(text: str) -> str:
    return rf"\boxed{{{text}}}"


HOSTILE = (
    Hostile("tower of powers", "7", boxed("9^{9^{9^9}}")),
    Hostile("tower of powers as gold", "9^{9^{9^9}}", boxed("7")),
    Hostile("factorial", "7", boxed("(10^7)!")),
    Hostile("factorials of factorials", "7", boxed("((9!)!)!")),
    Hostile("long sum", "7", boxed(r"\sum_{k=1}^{100000000} \frac{1}{k^2+1}")),
    Hostile("large expansion", "x+1", boxed("(x+y+z+1)^{400}-(x+y+z)^{400}")),
    Hostile("integral without a closed form", "7", boxed(r"\int_0^{1} \sin(x^x) e^{x^{\pi}} dx")),
    Hostile("root of a large number", "7", boxed(r"\sqrt[3]{" + "7" * 1000 + "}")),
    Hostile("number of 10^5 digits", "7", boxed("7" * 100_000)),
    Hostile("gold of 10^5 digits", "7" * 100_000, boxed("7")),
    Hostile("1 MB of LaTeX", "7", boxed(r"\frac{x}{y}+" * 90_000 + "1")),
    Hostile("10^4 nested boxes", "7", r"\boxed{" * 10_000 + "8" + "}" * 10_000),
    Hostile("10^4 nested fractions", "7", boxed(r"\frac{1}{1+" * 10_000 + "1" + "}" * 10_000)),
    Hostile("10^4 open brackets", "7", boxed("(" * 10_000)),
    Hostile("set of 10^4 members", r"\{1, 2\}", boxed(r"\{" + ", ".join(map(str, range(10_000))) + r"\}")),
    Hostile("10^5 boxes", "7", boxed("8") * 100_000),
    Hostile("NUL bytes", "7", boxed("8\x00\x00")),
    Hostile("lone surrogates", "7", boxed("8\ud800")),
    Hostile("nothing", "7", ""),
    Hostile("gold that is no mathematics", r"\frac{", boxed("7")),
)


def peer_verdict(peer_name: str, index: int) -> dict[str, Any]:
    """In a child: what the grader says of one hostile answer, and the CPU time that it took."""
    peer = next(peer for peer in peers_for(HARD_VERIFY) if peer.name == peer_name)
    meter = CpuMeter()
    before = meter.seconds()
    passed = peer.judge(HOSTILE[index].gold, HOSTILE[index].response)
    return {"passed": passed, "cpu_seconds": meter.seconds() - before}


def measure(data: Path | None, repeats: int) -> dict[str, Any]:
    peers = [peer.name for peer in peers_for(HARD_VERIFY) if peer.name != _LEFT_OUT]
    function = KillableFunction(f"{__name__}:peer_verdict", limits=LIMITS)
    try:
        theirs = {name: [_in_child(function, name, index) for index in range(len(HOSTILE))] for name in peers}
    finally:
        function.close()
    results = [_figures(name, verdicts) for name, verdicts in {OURS: asyncio.run(_ours()), **theirs}.items()]
    return {"answers": len(HOSTILE), "limit_cpu_seconds": LIMITS.cpu_seconds, "results": results}


async def _ours() -> list[dict[str, Any]]:
    source = OurMaths()
    meter = CpuMeter()
    verdicts = []
    try:
        for each in HOSTILE:
            await source.start()  # a child that replaces an ended one imports for seconds; that is no verdict's cost
            meter.look_for_children()
            before = meter.seconds()
            passed = await source.judge({"id": each.name, "gold": each.gold, "prediction": each.response})
            verdicts.append({"passed": passed, "cpu_seconds": meter.seconds() - before})
    finally:
        source.close()
    return verdicts


def _in_child(function: KillableFunction, peer_name: str, index: int) -> dict[str, Any]:
    try:
        verdict: dict[str, Any] = function.submit(peer_name, index).result()
    except LimitExceeded:
        return {"passed": None, "cpu_seconds": LIMITS.cpu_seconds, "was_ended": True}
    except CallFailed as error:
        return {"passed": None, "cpu_seconds": None, "was_ended": True, "failure": str(error)}
    return verdict


def _figures(name: str, verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    costs = [verdict["cpu_seconds"] for verdict in verdicts if verdict["cpu_seconds"] is not None]
    return {
        "grader": name,
        "paid": sum(verdict["passed"] is True for verdict in verdicts),
        "unjudged": sum(verdict["passed"] is None for verdict in verdicts),
        "ended": sum(verdict.get("was_ended", False) for verdict in verdicts),
        "longest_cpu_seconds": max(costs),
        "sum_cpu_seconds": sum(costs),
        "verdicts": {each.name: verdict for each, verdict in zip(HOSTILE, verdicts, strict=True)},
    }


def table(figures: dict[str, Any]) -> list[list[object]]:
    keys = ["grader", "paid", "unjudged", "ended", "longest_cpu_seconds", "sum_cpu_seconds"]
    heading = [f"{figures['answers']} hostile answers", "paid", "none", "ended", "max CPU s", "sum CPU s"]
    return [heading, *([result[key] for key in keys] for result in figures["results"])]
