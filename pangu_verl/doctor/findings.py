"""What the doctor found, and how it is shown.

Invariant: whoever is not well is told what to do. A finding that is not "ok" has advice, and one that is has none.
"""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: "problem": a run will fail or go wrong; "warning": it may; "unknown": the examination itself failed.
Status = Literal["ok", "warning", "problem", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at. ``source``: an upstream thread or document, as URL or "verl 0.9.1, file:line"."""

    name: str
    status: Status
    found: str
    advice: str = ""
    source: str | None = None

    def __post_init__(self) -> None:
        if (self.status == "ok") == bool(self.advice):
            raise ValueError(f"finding {self.name!r} is {self.status} with advice {self.advice!r}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def describe(findings: Sequence[Finding]) -> str:
    """The findings as a table for a terminal, wrapped to its width, and a line that counts them."""
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        lines = [f"{finding.name}: {finding.found}"]
        if finding.advice:
            lines.append(f"to do: {finding.advice}")
        if finding.advice and finding.source:
            lines.append(f"see: {finding.source}")
        # Text, not str: what was found may hold brackets that rich would take for markup. An address is never cut.
        table.add_row(Text(finding.status), Text("\n".join(lines), overflow="fold"))
    shown = io.StringIO()
    Console(file=shown, width=shutil.get_terminal_size((100, 24)).columns).print(table)
    rows = [row.rstrip() for row in shown.getvalue().splitlines()]
    return "\n".join([*rows, "", _count(findings)])


def _count(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.status for finding in findings)
    return ", ".join(f"{counts[status]} {status}" for status in get_args(Status))
