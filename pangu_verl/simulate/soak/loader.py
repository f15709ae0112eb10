"""The data loader of a soak: a trace whose prompts are given out in order, and how far it has come.

Invariant: ``position`` is the number of rows given out, so that a loader set to it goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Mapping

from pangu_verl.queue.entries import Prompt
from pangu_verl.simulate.traces import Responses, Trace


class Loader:
    """A ``Trace``; the engine asks it for one prompt after the other."""

    def __init__(self, trace: Trace, position: int) -> None:
        self._trace = trace
        self.position = position

    @property
    def name(self) -> str:
        return self._trace.name

    @property
    def trajectories(self) -> int:
        return self._trace.trajectories

    @property
    def mean_tokens(self) -> float:
        return self._trace.mean_tokens

    def task_means(self) -> Mapping[str, float]:
        return self._trace.task_means()

    def prompt(self, index: int) -> Prompt:
        self.position = index + 1
        return self._trace.prompt(index)

    def prompt_tokens(self, index: int) -> int:
        return self._trace.prompt_tokens(index)

    def responses(self, index: int, attempt: int) -> Responses:
        return self._trace.responses(index, attempt)
