"""One priority for three points: which waiting group starts, which request runs first, which group is trained on.

Invariants: an order is a function of the candidates and the weights alone, with ties first come, first served; inside
an anchored window no group is passed by more younger ones than the window says, whatever the terms score. What the
terms measure is in ``terms``; which ready groups have to go now for the others' deadlines is in ``selection``.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pangu_verl.errors import RunFailed, WrongUse, first_line
from pangu_verl.queue.terms.candidates import Candidates, FloatColumn
from pangu_verl.types import PriorityTerm


class Ordered(Protocol):
    """Whatever has a place in admission."""

    @property
    def order(self) -> int: ...


AnyOrdered = TypeVar("AnyOrdered", bound=Ordered)


class Priority:
    """Terms and their weights. A term of weight 0, or without one, is not computed; with none left it is FIFO.

    A weight below 0 turns its term round. Raises ``WrongUse`` for a name that comes twice, a weight that names no term
    and a weight that is no finite number.
    """

    def __init__(self, terms: Sequence[PriorityTerm], weights: Mapping[str, float]) -> None:
        names = [term.name for term in terms]
        if (twice := sorted({name for name in names if names.count(name) > 1})) != []:
            raise WrongUse(
                f"priority terms have unique names, but {', '.join(twice)} came twice; load one of the plugins"
            )
        for name, weight in weights.items():
            _check_weight(name, weight, names)
        #: Of the terms that are computed.
        self.weights = {name: float(weights[name]) for name in names if weights.get(name)}
        self._shares = _shares(self.weights)
        self._terms = [term for term in terms if term.name in self.weights]

    def scores(self, candidates: Candidates) -> FloatColumn:
        """The weighted sum of the terms' scores over the sum of the weights' sizes: about -1..1, higher is earlier."""
        total = np.zeros(len(candidates))
        for term in self._terms:
            total += self._shares[term.name] * _score(term, candidates)
        return total

    def order(self, candidates: Candidates) -> NDArray[np.int64]:
        """Positions of the candidates, first to serve first; among equal scores the older group comes first."""
        return np.lexsort((candidates.orders, -self.scores(candidates))).astype(np.int64, copy=False)

    def request_priorities(self, candidates: Candidates, window_groups: int) -> list[int]:
        """A number for each candidate's requests, 0 or more: a server with vLLM's ``priority`` policy runs lower first.

        A server compares requests that were sent at different times, so a rank among today's candidates would mean
        nothing there. The number is the group's order plus 0 (score 1) to ``window_groups`` - 1 (score -1). Hence the
        window holds on the server as well: where b is younger than a by the window or more, number(a) <= order(a) +
        window - 1 < order(b) <= number(b), so at most window - 1 younger groups are served before any group, whenever
        they were sent. Equal numbers are served in the order of their arrival. verl leaves out a priority of 0
        (``llm_server.py``), which vLLM takes for 0: the same.
        """
        _check_window(window_groups)
        standing = (1.0 - np.clip(self.scores(candidates), -1.0, 1.0)) / 2.0
        behind = np.rint(standing * (window_groups - 1)).astype(np.int64)
        numbers: list[int] = (candidates.orders + behind).tolist()
        return numbers


def anchored(groups: Sequence[AnyOrdered], window_groups: int) -> Sequence[AnyOrdered]:
    """The part of ``groups`` (oldest first) that may be chosen from: orders below the oldest's plus ``window_groups``.

    Passing: while a group g is in the queue, the oldest there is g or older, so whatever is chosen has an order below
    g's plus the window W. Orders are distinct, so at most W - 1 younger groups ever pass g: whatever the scores, the
    arrivals, and however often a choice is made. W = 1 is first come, first served.

    Age: let every step choose B groups, or else all that are offered and then from what is offered next (after a
    choice of everything offered the window is anchored anew), let L older groups be chosen before g, each return of
    one that was under way counted again, and let no younger one return. At most L + W - 1 choices come before g's, so
    at most ``maximum_age_steps(L, W, B)`` = floor((L + W - 1) / B) steps go by without it. Where credits keep (s + 1) B
    groups alive and none returns, L <= (s + 1) B - 1, and with W <= B that is at most s + 1 steps.

    Raises ``WrongUse`` for a window below 1.
    """
    _check_window(window_groups)
    if not groups:
        return groups
    return groups[: bisect_left(groups, groups[0].order + window_groups, key=attrgetter("order"))]


def maximum_age_steps(older_groups: int, window_groups: int, step_groups: int) -> int:
    """Most steps that go by without a group: floor((L + W - 1) / B), proven in ``anchored``."""
    return (older_groups + window_groups - 1) // step_groups


def _score(term: PriorityTerm, candidates: Candidates) -> FloatColumn:
    try:
        score = term.score(candidates)
    except Exception as error:
        raise RunFailed(
            f"priority term {term.name!r} failed: {type(error).__name__}: {first_line(error)}; "
            "mend it, or set its weight to 0"
        ) from error
    if not isinstance(score, np.ndarray) or score.dtype != np.float64 or score.shape != (len(candidates),):
        found = f"{score.dtype} of shape {score.shape}" if isinstance(score, np.ndarray) else type(score).__name__
        raise RunFailed(
            f"priority term {term.name!r}: expected float64 of shape ({len(candidates)},), got {found}; "
            "mend it, or set its weight to 0"
        )
    if not np.isfinite(score).all():
        worst = int(np.flatnonzero(~np.isfinite(score))[0])
        raise RunFailed(
            f"priority term {term.name!r}: expected finite numbers, got {score[worst]} for the group of order "
            f"{candidates.orders[worst]}; mend it, or set its weight to 0"
        )
    return score


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    # Through the largest, as the sum of very large weights would be an infinity.
    largest = max(map(abs, weights.values()), default=1.0)
    total = sum(abs(weight) / largest for weight in weights.values())
    return {name: weight / largest / total for name, weight in weights.items()}


def _check_weight(name: str, weight: float, known: Sequence[str]) -> None:
    if name not in known:
        raise WrongUse(
            f"priority weight {name!r} names no term (known: {', '.join(sorted(known)) or 'none'}); "
            "is its plugin installed? run 'pangu-verl plugins'"
        )
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
        raise WrongUse(f"priority weight {name!r} is a finite number, not {weight!r}; 0 leaves the term out")


def _check_window(window_groups: int) -> None:
    if window_groups < 1:
        raise WrongUse(
            f"a window of the priority holds at least 1 group, not {window_groups}; 1 is first come, first served"
        )
