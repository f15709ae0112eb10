"""The form of an answer: lists, highlights, sections, JSON, titles, fixed phrases, commas."""

from __future__ import annotations

import json
import re

CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_HIGHLIGHT = re.compile(r"\*\*([^\n*]+)\*\*|(?<!\*)\*([^\n*]+)\*")
_FENCE = re.compile(r"```(?:json)?", re.IGNORECASE)


def number_bullet_lists(answer: str, *, num_bullets: int) -> bool:
    """Exactly so many lines that begin with a markdown bullet, ``*`` or ``-``; a rule of such signs is none."""
    return sum(_is_bullet(line.strip()) for line in answer.splitlines()) == num_bullets


def _is_bullet(line: str) -> bool:
    return line.startswith(("*", "-")) and not line.startswith("**") and bool(line.strip("*- "))


def constrained_response(answer: str) -> bool:
    """The answer holds one of the three fixed phrases."""
    return any(phrase in answer for phrase in CONSTRAINED)


def number_highlighted_sections(answer: str, *, num_highlights: int) -> bool:
    """At least so many ``*highlighted*`` or ``**highlighted**`` parts, each on one line."""
    found = _HIGHLIGHT.finditer(answer)
    return sum(bool((match[1] or match[2]).strip()) for match in found) >= num_highlights


def multiple_sections(answer: str, *, section_spliter: str, num_sections: int) -> bool:
    """At least so many sections, each begun by the word and a number, such as ``Section 1``."""
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", answer)) >= num_sections


def json_format(answer: str) -> bool:
    """The whole answer is JSON, in a markdown fence or not."""
    text = answer.strip()
    if fence := _FENCE.match(text):
        text = text[fence.end() :].removesuffix("```")
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def title(answer: str) -> bool:
    """A line holds a title in double angular brackets, such as ``<<poem of joy>>``."""
    for line in answer.splitlines():
        _, opened, rest = line.partition("<<")
        content, closed, _ = rest.rpartition(">>")
        if opened and closed and content.strip("<> \t"):
            return True
    return False


def no_comma(answer: str) -> bool:
    """No comma occurs."""
    return "," not in answer
