"""Figures as text: columns that line up, and how numbers are written."""

from __future__ import annotations

from collections.abc import Sequence


def printed(rows: Sequence[Sequence[object]]) -> str:
    """The first column to the left, the others to the right; None is a dash."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    return "\n".join("  ".join(_padded(row, widths)).rstrip() for row in texts)


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def _text(cell: object) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "NO"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}" if abs(cell) >= 10 else f"{cell:.3f}"
    return "-" if cell is None else str(cell)
