"""``pangu-verl rewards validate``: every row's own gold answer through its reward, before anything is trained on it.

Invariants: correctness alone is asked, without format gate and auxiliary terms; nothing is written unless all rows were
read and judged, and a file that is there is left alone unless ``overwrite`` says otherwise.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from pangu_verl.errors import WrongUse
from pangu_verl.rewards.files import check_is_file, check_is_other, written_whole
from pangu_verl.rewards.golds import ANY_ANSWER, fault_in_tests, gold_response
from pangu_verl.rewards.judges import Judges, judge_all, load_judges
from pangu_verl.rewards.parquet_rows import read_parquet_rows
from pangu_verl.rewards.rates import NO_GOLD, Finding, GoldCounts, Result, measurements
from pangu_verl.rewards.row_progress import row_progress
from pangu_verl.rewards.rows import GoldRow, read_rows
from pangu_verl.rewards.wording import shown

#: Problems that are printed; ``--output`` writes all.
SHOWN_PROBLEMS = 20


@dataclass(kw_only=True, slots=True)
class Validation:
    """The figures, and the first rows whose gold is rejected or cannot be judged."""

    counts: GoldCounts = field(default_factory=GoldCounts)
    problems: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding) -> None:
        self.counts.add(finding)
        if finding.is_problem and len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(finding)

    def to_json(self) -> dict[str, Any]:
        return {**self.counts.to_json(), "problems": [asdict(problem) for problem in self.problems]}

    def text(self) -> str:
        lines = [self.counts.text()]
        for problem in self.problems:
            what = f"row {shown(str(problem.id))} ({shown(problem.domain)}, {problem.source})"
            lines.append(f"{what}: {problem.result}: {shown(problem.reason)}")
        if (more := self.counts.num_problems - len(self.problems)) > 0:
            lines.append(f"and {more} more; --output FILE writes all")
        return "\n".join(lines)


def validate_file(
    data: Path,
    *,
    sources: str | None,
    output: Path | None,
    measurements_path: Path | None,
    overwrite: bool,
    console: Console,
) -> Validation:
    """Judge the gold of every row of a JSONL or parquet file, and write the files that are asked for."""
    check_is_file(data)
    for path, option in ((output, "--output"), (measurements_path, "--measurements")):
        if path is not None:
            check_is_other(path, option, data)
    if output is not None and output == measurements_path:
        raise WrongUse(f"--output and --measurements both name {output}; name two files")
    judges = load_judges(sources)
    found = Validation()
    with (
        written_whole(output, "--output", overwrite=overwrite) as details,
        written_whole(measurements_path, "--measurements", overwrite=overwrite) as rates,
    ):
        with console.status(f"checking {data}"):
            num_rows = sum(1 for _ in _rows(data, judges))
        if not num_rows:
            raise WrongUse(f"{data} has no rows; name the data that is to be trained on")
        with row_progress(console, num_rows) as advance:

            def take(finding: Finding) -> None:
                found.add(finding)
                if details is not None:
                    details.write(json.dumps(asdict(finding)) + "\n")
                advance()

            asyncio.run(judge_all(judges, _rows(data, judges), lambda row: examined(judges, row), take))
        if rates is not None:
            rates.write(json.dumps(measurements(found.counts.rates()), indent=2) + "\n")
    return found


def _rows(data: Path, judges: Judges) -> Iterator[GoldRow]:
    if data.suffix == ".parquet":
        return read_parquet_rows(data, judges.domains)
    return read_rows(data, GoldRow, judges.domains)


async def examined(judges: Judges, row: GoldRow) -> Finding:
    """What becomes of a row's gold. Raises nothing."""
    gold = gold_response(row)
    ladder = judges.ladders.get(row.domain)
    if gold is None and ladder is not None and row.domain != "instruction":
        fault = fault_in_tests(row) if row.domain == "code" else None
        source = ladder.rungs[0].name
        if fault is not None:
            return Finding(id=row.id, domain=row.domain, source=source, result="unjudged", reason=fault)
        return Finding(id=row.id, domain=row.domain, source=source, result=NO_GOLD, reason=_why_no_gold(row))
    verdict = (await judges.judge(row.with_response(ANY_ANSWER if gold is None else gold))).verdict
    result = _result(verdict.passed, has_gold=gold is not None)
    return Finding(
        id=row.id,
        domain=row.domain,
        source=verdict.source,
        result=result,
        reason=_why_no_gold(row) if result == NO_GOLD else verdict.reason,
        seconds=verdict.seconds,
    )


def _result(passed: bool | None, *, has_gold: bool) -> Result:
    if passed is None:
        return "unjudged"
    if not has_gold:
        return NO_GOLD
    return "accepted" if passed else "rejected"


def _why_no_gold(row: GoldRow) -> str:
    understood = {"code": "tests are understood; no reference program", "instruction": "checks are understood"}
    return understood.get(row.domain, "the row has no ground truth")
