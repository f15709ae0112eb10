"""Groups and candidates as the tests of the priority need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from hypothesis import strategies as st

from pangu_verl.queue.entries import Group, Prompt
from pangu_verl.queue.terms.candidates import Candidates, FloatColumn, Point


def group(
    order: int,
    *,
    task: str = "maths",
    admitted: int = 0,
    started: int | None = None,
    tokens: float | None = None,
    pass_rate: float | None = None,
) -> Group:
    prompt = Prompt(key=f"p{order}", task=task, trajectories=8, expected_tokens=tokens, pass_rate=pass_rate)
    return Group(prompt=prompt, order=order, admitted_version=admitted, started_version=started)


def candidates(
    groups: Sequence[Group],
    *,
    point: Point = "dispatch",
    version: int = 0,
    bounds: Mapping[str, int] | None = None,
    taken: Mapping[str, float] | None = None,
    targets: Mapping[str, float] | None = None,
) -> Candidates:
    """With a bound of 2 versions for every task that ``bounds`` does not name."""
    return Candidates.of(
        groups,
        point=point,
        version=version,
        bound_of=lambda task: (bounds or {}).get(task, 2),
        taken_groups=taken,
        target_shares=targets,
    )


class Fixed:
    """A term that says what it was told, by order of the group."""

    def __init__(self, name: str, by_order: Mapping[int, float]) -> None:
        self.name = name
        self.calls = 0
        self._by_order = by_order

    def score(self, candidates: Candidates) -> FloatColumn:
        self.calls += 1
        return np.array([self._by_order[order] for order in candidates.orders.tolist()], dtype=np.float64)


TASKS = ("maths", "code", "chat")


@st.composite
def groups(draw: st.DrawFn, least: int = 0) -> list[Group]:
    """Groups of distinct orders in any sequence, with whatever the past may have left in them."""
    orders = draw(st.lists(st.integers(0, 10_000), min_size=least, max_size=24, unique=True))
    return [
        group(
            order,
            task=draw(st.sampled_from(TASKS)),
            admitted=draw(st.integers(0, 20)),
            started=draw(st.none() | st.integers(0, 20)),
            tokens=draw(st.none() | st.floats(allow_nan=True, allow_infinity=True)),
            pass_rate=draw(st.none() | st.floats(-0.5, 1.5)),
        )
        for order in orders
    ]


shares = st.dictionaries(st.sampled_from(TASKS), st.floats(0.0, 1e9))
