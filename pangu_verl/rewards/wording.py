"""Text from outside, made safe to show on a terminal, and counts as a table."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_CHARACTERS = 200


def shown(text: str, most_characters: int = SHOWN_CHARACTERS) -> str:
    """A text on one line, cut, with whatever no terminal should be sent (escapes, lone surrogates) spelled out."""
    text = text if len(text) <= most_characters else text[:most_characters] + "…"
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart; a cell that is a number stands to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        )
        for row in (header, *rows)
    )
    return "\n".join(line.rstrip() for line in lines)


def share(value: float) -> str:
    """A share as percent with one decimal."""
    return f"{100 * value:.1f}%"
