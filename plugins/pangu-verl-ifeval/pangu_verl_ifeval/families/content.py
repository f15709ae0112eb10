"""Placeholders and postscripts."""

from __future__ import annotations

import re

_PLACEHOLDER = re.compile(r"\[[^\[\]\n]*\]")
_POSTSCRIPTS = {"P.S.": re.compile(r"p\.\s?s\."), "P.P.S": re.compile(r"p\.\s?p\.\s?s")}


def number_placeholders(answer: str, *, num_placeholders: int) -> bool:
    """At least so many placeholders in square brackets, such as ``[address]``."""
    return len(_PLACEHOLDER.findall(answer)) >= num_placeholders


def postscript(answer: str, *, postscript_marker: str) -> bool:
    """The marker occurs, without case; within the two common ones a space may follow a full stop."""
    pattern = _POSTSCRIPTS.get(postscript_marker.strip())
    folded = answer.casefold()
    return bool(pattern.search(folded)) if pattern else postscript_marker.strip().casefold() in folded
