"""What goes into the text engine and what comes out: sampling parameters, requests, completions.

Invariant: a parameter that the engine cannot honour is refused by name, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

StopReason = Literal["completed", "length", "aborted"]


class EngineError(ValueError):
    """A request or a set of weights that the engine cannot take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to draw tokens. ``temperature`` 0 is greedy; ``top_k`` up to 0 and ``top_p`` of 1 leave all tokens in."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    with_log_probs: bool = False

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any], default_max_new_tokens: int) -> Sampling:
        """Read verl's (vLLM's) parameter names; raises ``EngineError`` for what cannot be honoured."""
        rest = dict(parameters)
        limits = [rest.pop(key) for key in ("max_tokens", "max_new_tokens") if key in rest]
        sampling = cls(
            max_new_tokens=int(limits[0]) if limits else default_max_new_tokens,
            temperature=float(rest.pop("temperature", 1.0)),
            top_p=float(rest.pop("top_p", 1.0)),
            top_k=int(rest.pop("top_k", 0)),
            with_log_probs=rest.pop("logprobs", None) not in (None, False),
        )
        if (penalty := rest.pop("repetition_penalty", 1.0)) != 1.0:
            raise EngineError(f"the CPU engine has no repetition penalty, got repetition_penalty={penalty}; use 1.0")
        if rest:
            known = "temperature, top_p, top_k, logprobs, max_tokens, max_new_tokens"
            raise EngineError(f"unknown sampling parameter {sorted(rest)[0]!r} (the CPU engine knows: {known})")
        sampling._check()
        return sampling

    def _check(self) -> None:
        if self.max_new_tokens < 1:
            raise EngineError(f"max_tokens must be at least 1, got {self.max_new_tokens}")
        if not self.temperature >= 0:
            raise EngineError(f"temperature must be 0 or more, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise EngineError(f"top_p must lie in (0, 1], got {self.top_p}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """Tokens of one segment, with the log-probability of each under the distribution it was drawn from.

    ``version`` is the smaller of the weights' versions when the first token was begun and when the last was returned.
    """

    token_ids: list[int]
    log_probs: list[float] | None
    stop_reason: StopReason
    version: int | None


@dataclass(slots=True, eq=False)
class Request:
    """A request on its way through the engine."""

    prompt_token_ids: list[int]
    sampling: Sampling
    priority: int
    arrival: int
    future: Future[Completion] = field(default_factory=Future)
    token_ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    version_at_start: int | None = None

    def __lt__(self, other: Request) -> bool:
        """Lower priority first, as in vLLM; equals in order of arrival."""
        return (self.priority, self.arrival) < (other.priority, other.arrival)

    def finish(self, stop_reason: StopReason, version: int | None) -> None:
        """Hand the result to whoever waits for it (nobody, if the future was cancelled)."""
        started = self.version_at_start
        known = [v for v in (started, version) if v is not None]
        completion = Completion(
            token_ids=self.token_ids,
            log_probs=self.log_probs if self.sampling.with_log_probs else None,
            stop_reason=stop_reason,
            version=min(known) if known else None,
        )
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(completion)
