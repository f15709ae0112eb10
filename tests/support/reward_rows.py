"""Reward rows on disk, sources made by hand, and the ``rewards`` commands called in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from pangu_verl import cli
from pangu_verl.mars.dispatch import ladders
from pangu_verl.rewards.judges import Judges
from pangu_verl.types import AuxiliaryTerm, RewardRow, Verdict


def row(**fields: Any) -> dict[str, Any]:
    """A maths row whose response is right."""
    return {"id": "a", "domain": "math", "response": r"It is \boxed{7}.", "ground_truth": "7", **fields}


def write_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(found) + "\n" for found in objects))
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def timeless(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Verdict lines without what differs from run to run."""
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def call(*arguments: str | Path) -> Any:
    """``pangu-verl rewards`` with arguments."""
    return CliRunner().invoke(cli.app, ["rewards", *map(str, arguments)])


def result_of(answer: Any) -> Any:
    """What ``--json`` printed."""
    return json.loads(answer.stdout.splitlines()[-1])


class Source:
    """A source that says what a function of the row's answer says: right, wrong, or None for "could not judge"."""

    def __init__(
        self, says: Callable[[str], bool | None], *, name: str = "made", domains: Iterable[str] = ("math",)
    ) -> None:
        self.name = name
        self.domains = frozenset(domains)
        self.asked: list[RewardRow] = []
        self.is_closed = False
        self._says = says

    async def judge(self, row: RewardRow) -> Verdict:
        self.asked.append(row)
        await asyncio.sleep(0)
        passed = self._says(row.answer)
        score = None if passed is None else float(passed)
        return Verdict(score=score, passed=passed, reason=f"says {passed}", source=self.name)

    async def close(self) -> None:
        self.is_closed = True


def judges_of(*sources: Source, terms: Iterable[AuxiliaryTerm] = ()) -> Judges:
    names = [source.name for source in sources]
    return Judges(ladders=ladders({source.name: source for source in sources}, names), terms=list(terms))
