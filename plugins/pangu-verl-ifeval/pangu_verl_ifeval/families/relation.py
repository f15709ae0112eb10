"""How a count is held against its bound."""

from __future__ import annotations

from typing import Literal, get_args

Relation = Literal["at least", "less than"]
RELATIONS: tuple[str, ...] = get_args(Relation)


def holds(count: int, relation: Relation, bound: int) -> bool:
    return count >= bound if relation == "at least" else count < bound
