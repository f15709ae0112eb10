"""How many tokens an answer has: drawn in advance, known to the server alone.

Each answer to a prompt is a *draw*, numbered from 0 in the order in which answers are begun; its length depends on the
seed, the prompt's number and the draw alone. All of its tokens are the draw's number, so a request that was
interrupted and comes again with its tokens says itself which answer goes on. Invariant: no length is drawn anew for an
answer that has a token, and two answers that are on their way never have the same draw.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from pangu_verl.errors import RunFailed
from pangu_verl.simulate.traces import LogNormalTrace


@dataclass(slots=True)
class _Draws:
    """Of one prompt: the next number, and those that were begun and given back."""

    next: int = 0
    returned: list[int] = field(default_factory=list)


class NaturalLengths:
    """``trace`` gives the lengths of n draws at a time; ``most_draws`` are there token ids for."""

    def __init__(self, trace: LogNormalTrace, most_draws: int) -> None:
        self._trace = trace
        self._most_draws = most_draws
        self._draws: defaultdict[int, _Draws] = defaultdict(_Draws)
        self._lengths = lru_cache(maxsize=10_000)(lambda prompt, attempt: trace.responses(prompt, attempt).tokens)

    def draw(self, prompt: int, made: Sequence[int]) -> int:
        """That of an answer to the prompt of this number whose tokens so far are ``made``."""
        if made:
            return made[-1]
        draws = self._draws[prompt]
        if draws.returned:
            return heapq.heappop(draws.returned)
        draws.next += 1
        if draws.next > self._most_draws:
            raise RunFailed(f"prompt {prompt} was answered {self._most_draws} times, for more there are no token ids")
        return draws.next - 1

    def give_back(self, prompt: int, draw: int) -> None:
        """The answer was interrupted before its first token and does not say its draw when it comes again."""
        heapq.heappush(self._draws[prompt].returned, draw)

    def tokens(self, prompt: int, draw: int) -> int:
        attempt, member = divmod(draw, self._trace.trajectories)
        length: int = self._lengths(prompt, attempt)[member]
        return length
