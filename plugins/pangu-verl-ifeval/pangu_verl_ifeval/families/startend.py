"""How an answer starts and ends."""

from __future__ import annotations


def end_checker(answer: str, *, end_phrase: str) -> bool:
    """The answer ends with the phrase, without case; quotation marks around the answer do not count."""
    return answer.strip().strip('"').casefold().endswith(end_phrase.strip().casefold())


def quotation(answer: str) -> bool:
    """The whole answer stands in double quotation marks."""
    text = answer.strip()
    return len(text) > 1 and text.startswith('"') and text.endswith('"')
