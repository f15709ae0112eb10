"""Instructions about the answer as a whole: two of them, or the request repeated first."""

from __future__ import annotations

DIVIDER = "******"


def two_responses(answer: str) -> bool:
    """Two different responses, divided by six asterisks; only at the ends may a part be empty."""
    parts = [part.strip() for part in answer.split(DIVIDER)]
    said = [part for part in parts if part]
    return all(parts[1:-1]) and len(said) == 2 and said[0] != said[1]


def repeat_prompt(answer: str, *, prompt_to_repeat: str) -> bool:
    """The answer begins with the request word for word, without case."""
    return answer.strip().casefold().startswith(prompt_to_repeat.strip().casefold())
