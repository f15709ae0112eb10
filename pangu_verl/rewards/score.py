"""``pangu-verl rewards score``: responses in, verdicts out, of a file or of one row.

Invariants: the verdict in line k is that of row k; all rows are checked before the first is judged, because a mistake
in the last row should not cost the hours before it; what could not be judged is a verdict like any other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Console

from pangu_verl.errors import WrongUse
from pangu_verl.mars.composition import compose
from pangu_verl.mars.ladder import Judged
from pangu_verl.rewards.files import check_is_file, check_is_other
from pangu_verl.rewards.judges import Judges, judge_all, load_judges
from pangu_verl.rewards.row_progress import row_progress
from pangu_verl.rewards.rows import ResponseRow, parse_row, read_rows
from pangu_verl.rewards.summary import Summary
from pangu_verl.rewards.verdict_lines import ADVICE, VerdictFile, check_same_row
from pangu_verl.types import AuxiliaryTerm, RewardRow

#: The id of a row that is given on the command line.
COMMAND_LINE_ID = "row"


def score_file(
    rows_path: Path, output: Path, *, sources: str | None, resume: bool, overwrite: bool, console: Console
) -> Summary:
    """Judge every row of a JSONL file into ``output``; the figures include the rows that an earlier run judged."""
    check_is_file(rows_path)
    check_is_other(output, "--output", rows_path)
    file = VerdictFile(output, resume=resume, overwrite=overwrite)
    judges = load_judges(sources)
    with console.status(f"checking {rows_path}"):
        num_rows = sum(1 for _ in read_rows(rows_path, ResponseRow, judges.domains))
    summary = Summary()
    with file:
        rows = read_rows(rows_path, ResponseRow, judges.domains)
        for number, kept in zip(count(1), file.kept(), strict=False):
            row = next(rows, None)
            if row is None:
                raise WrongUse(f"--resume: --output holds more verdicts than the {num_rows} rows of --input; {ADVICE}")
            check_same_row(kept, row, number)
            summary.add(kept)
        with row_progress(console, num_rows, done=summary.total.rows) as advance:

            def take(line: dict[str, Any]) -> None:
                file.append(line)
                summary.add(line)
                advance()

            _score_rows(judges, rows, take)
    return summary


def score_row(fields: Mapping[str, str | None], *, sources: str | None) -> dict[str, Any]:
    """The verdict on one row, given by its keys."""
    judges = load_judges(sources)
    row = parse_row({"id": COMMAND_LINE_ID, **fields}, ResponseRow, judges.domains, "the row of the command line")
    lines: list[dict[str, Any]] = []
    _score_rows(judges, [row], lines.append)
    return lines[0]


def _score_rows(judges: Judges, rows: Iterable[ResponseRow], take: Callable[[dict[str, Any]], None]) -> None:
    async def work(given: ResponseRow) -> dict[str, Any]:
        row = given.with_response(given.response)
        return verdict_line(given, row, await judges.judge(row), judges.terms)

    asyncio.run(judge_all(judges, rows, work, take))


def verdict_line(given: ResponseRow, row: RewardRow, judged: Judged, terms: Iterable[AuxiliaryTerm]) -> dict[str, Any]:
    """What is written of one row: its composed score, and each part of it under the name of what said so."""
    verdict = compose(row, judged.verdict, terms)
    breakdown: dict[str, Any] = {
        opinion.source: {
            "score": opinion.score,
            "passed": opinion.passed,
            "reason": opinion.reason,
            "is_audit": opinion.is_audit,
        }
        for opinion in judged.opinions
    }
    breakdown |= verdict.details["breakdown"]
    if (details := _as_json(judged.verdict.details)) is not None:
        breakdown[verdict.source]["details"] = details
    return {
        "id": given.id,
        "domain": given.domain,
        "source": verdict.source,
        "score": verdict.score,
        "passed": verdict.passed,
        "reason": verdict.reason,
        "breakdown": breakdown,
        "seconds": verdict.seconds,
    }


def _as_json(details: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a source says beside; None where that is no JSON, which a stranger's source is free to say."""
    try:
        json.dumps(details, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return dict(details)
