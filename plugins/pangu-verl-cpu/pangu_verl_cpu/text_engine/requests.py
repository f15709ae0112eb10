"""What goes into the text engine and what comes out: sampling parameters, requests, completions, statistics.

Invariant: a parameter that the engine cannot honour is refused by name, never ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

StopReason = Literal["completed", "length", "aborted"]
Number = TypeVar("Number", int, float)

# Below this, scores divided by the temperature could leave the range of float32.
_LOWEST_TEMPERATURE = 1e-5


class EngineError(ValueError):
    """A request or a set of weights that the engine cannot take."""


class EngineClosed(EngineError):
    """The engine takes nothing any more."""


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
        """Read verl's (vLLM's) names, null meaning absent; raises ``EngineError`` for what cannot be honoured."""
        given = {name: value for name, value in parameters.items() if value is not None}
        limits = [_number(given.pop(name), name, int) for name in ("max_tokens", "max_new_tokens") if name in given]
        if len(set(limits)) > 1:
            raise EngineError(f"max_tokens and max_new_tokens are one limit, got {limits[0]} and {limits[1]}")
        sampling = cls(
            max_new_tokens=limits[0] if limits else default_max_new_tokens,
            temperature=_number(given.pop("temperature", 1.0), "temperature", float),
            top_p=_number(given.pop("top_p", 1.0), "top_p", float),
            top_k=_number(given.pop("top_k", 0), "top_k", int),
            with_log_probs=_wants_log_probs(given.pop("logprobs", False)),
        )
        if (penalty := given.pop("repetition_penalty", 1.0)) != 1.0:
            raise EngineError(f"the CPU engine has no repetition penalty, got repetition_penalty={penalty}; use 1.0")
        if given:
            known = "temperature, top_p, top_k, logprobs, max_tokens, max_new_tokens"
            raise EngineError(f"unknown sampling parameter {sorted(given)[0]!r} (the CPU engine knows: {known})")
        return sampling

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise EngineError(f"max_tokens must be at least 1, got {self.max_new_tokens}")
        if self.temperature != 0 and not _LOWEST_TEMPERATURE <= self.temperature < math.inf:
            raise EngineError(
                f"temperature must be 0 (greedy), or finite and at least {_LOWEST_TEMPERATURE}, got {self.temperature}"
            )
        if not 0 < self.top_p <= 1:
            raise EngineError(f"top_p must lie in (0, 1], got {self.top_p}")


def _number(value: Any, name: str, kind: type[Number]) -> Number:
    try:
        number = kind(value)
        if number == value:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise EngineError(f"{name} must be a number of type {kind.__name__}, got {value!r}")


def _wants_log_probs(logprobs: Any) -> bool:
    """vLLM's count of alternatives: 0 and 1 ask for the drawn token alone, as verl's True does."""
    if logprobs not in (0, 1):
        raise EngineError(f"the CPU engine has the log-probability of the drawn token alone, got logprobs={logprobs!r}")
    return logprobs is not False


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """Tokens of one segment, with the log-probability of each under the distribution it was drawn from.

    ``version`` is the smaller of the weights' versions when the first token was begun and when the last was returned;
    None, which stands for the weights before the first publication, is the smallest.
    """

    token_ids: list[int]
    log_probs: list[float] | None
    stop_reason: StopReason
    version: int | None


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """Counted since the start, in wall time of the engine's thread. A cancelled request counts as aborted."""

    busy_s: float
    idle_s: float
    prompt_tokens: int
    generated_tokens: int
    completed_requests: int
    aborted_requests: int
    failed_requests: int


@dataclass(slots=True, eq=False)
class Request:
    """A request on its way through the engine. Invariant: it ends once."""

    prompt_token_ids: tuple[int, ...]
    sampling: Sampling
    priority: int
    arrival: int
    future: Future[Completion] = field(default_factory=Future)
    token_ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    version_at_start: int | None = None
    ended: bool = False

    def __lt__(self, other: Request) -> bool:
        """Lower priority first, as in vLLM; equals in order of arrival."""
        return (self.priority, self.arrival) < (other.priority, other.arrival)

    def end(self, outcome: StopReason | Exception, version: int | None) -> bool:
        """Hand the outcome to whoever waits for it; returns False if nobody does, the future having been cancelled."""
        self.ended = True
        if not self.future.set_running_or_notify_cancel():
            return False
        if isinstance(outcome, Exception):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(self._completion(outcome, version))
        return True

    def _completion(self, stop_reason: StopReason, version: int | None) -> Completion:
        versions = [self.version_at_start, version] if self.token_ids else [version]
        known = [v for v in versions if v is not None]
        return Completion(
            token_ids=self.token_ids,
            log_probs=self.log_probs if self.sampling.with_log_probs else None,
            stop_reason=stop_reason,
            version=min(known) if len(known) == len(versions) else None,
        )


def check_prompt(
    prompt_token_ids: Sequence[int], sampling: Sampling, max_length_tokens: int, vocabulary_size: int
) -> None:
    """Raise ``EngineError`` for a prompt that a model of this length and vocabulary cannot continue."""
    length = len(prompt_token_ids)
    if length == 0:
        raise EngineError("the prompt has no tokens")
    if length + sampling.max_new_tokens > max_length_tokens:
        raise EngineError(
            f"prompt of {length} tokens plus max_tokens {sampling.max_new_tokens} exceeds the model's "
            f"{max_length_tokens} positions; shorten the prompt or lower data.max_response_length"
        )
    for token in (min(prompt_token_ids), max(prompt_token_ids)):
        if not 0 <= token < vocabulary_size:
            raise EngineError(f"the prompt holds token {token}, the model knows 0 to {vocabulary_size - 1}")
