"""Synthetic traces: how long the responses to each prompt are, how they are graded, and what is known beforehand.

Invariant: lengths depend on the seed, the prompt's index and the attempt alone, never on the policy under test; a group
that is generated anew keeps its prompt's level and draws new samples. Lengths are whole tokens, at least 1.
Source of the shapes: design document, "Traces" (log-normal, prompt : sample sigma 0.8 : 0.6, capped at 8 x the mean).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from pangu_verl.errors import WrongUse
from pangu_verl.queue.entries import Prompt
from pangu_verl.simulate.streams import Use, stream

#: Total sigma of the logarithm of a length.
TOTAL_SIGMA = {"mild": 0.6, "mid": 1.0, "heavy": 1.3}
PROMPT_SIGMA_SHARE = 0.8
SAMPLE_SIGMA_SHARE = 0.6
CAP_MEANS = 8.0
#: Mean length before the cap (project default; every share is free of it, but for the rounding to whole tokens).
MEAN_TOKENS = 4096
#: Spread of pass rates within a task: the sum of both parameters of the beta distribution (project default).
PASS_RATE_WEIGHT = 4.0
_AVERAGED_POINTS = 1_000

#: Share of the run (0..1) and the factor of all lengths there; linear between, level outside.
Levels = tuple[tuple[float, float], ...]
STATIONARY: Levels = ((0.0, 1.0),)
#: Lengths that triple over the run, and lengths that triple at once in the middle of it.
DRIFT: Levels = ((0.0, 0.5), (1.0, 1.5))
JUMP: Levels = ((0.5, 0.5), (0.5 + 1e-9, 1.5))


class Responses(NamedTuple):
    """One attempt at a group: tokens and reward (None: not graded) of each member."""

    tokens: list[int]
    rewards: list[float | None]


class Trace(Protocol):
    """What a simulation asks of a trace."""

    @property
    def name(self) -> str: ...

    @property
    def trajectories(self) -> int:
        """Trajectories of a group, n."""
        ...

    @property
    def mean_tokens(self) -> float:
        """Mean natural length: what the policy would produce, nothing dropped or masked."""
        ...

    def task_means(self) -> Mapping[str, float]:
        """Mean natural length of each task's responses, in tokens."""
        ...

    def prompt(self, index: int) -> Prompt:
        """The prompt that is admitted as number ``index``, from 0; its ``row`` is ``index``."""
        ...

    def prompt_tokens(self, index: int) -> int: ...

    def responses(self, index: int, attempt: int) -> Responses: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A kind of prompt: ``share`` of all prompts (0..1), factor of the lengths, mean pass rate (0..1)."""

    name: str
    share: float = 1.0
    length_level: float = 1.0
    pass_rate: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not self.length_level > 0 or not 0 < self.pass_rate < 1:
            raise WrongUse(
                f"task {self.name!r}: share lies in 0..1, length_level over 0 and pass_rate between 0 and 1, not "
                f"{self.share}, {self.length_level} and {self.pass_rate}"
            )


class _Character(NamedTuple):
    task: Task
    level: float
    pass_rate: float


@dataclass(frozen=True, kw_only=True)
class LogNormalTrace:
    """Log-normal lengths with a level for each prompt and a spread between its samples.

    ``num_prompts`` is the length of the run over which ``levels`` move. ``estimate_sigma`` is the error of the expected
    length that a prompt carries (sigma of its logarithm; None: prompts carry no estimates, 0: the prompt's true level);
    with it goes the pass rate of one earlier attempt.
    """

    name: str
    total_sigma: float
    seed: int
    num_prompts: int
    trajectories: int = 8
    uncapped_mean_tokens: int = MEAN_TOKENS
    levels: Levels = STATIONARY
    tasks: tuple[Task, ...] = (Task(name="any"),)
    question_tokens: int = 0
    estimate_sigma: float | None = None

    def __post_init__(self) -> None:
        for field in ("num_prompts", "trajectories", "uncapped_mean_tokens"):
            if getattr(self, field) < 1:
                raise WrongUse(f"trace {self.name!r}: {field} is at least 1, not {getattr(self, field)}")
        if not self.total_sigma > 0 or self.seed < 0:
            raise WrongUse(
                f"trace {self.name!r}: sigma is over 0 and seed 0 or more; got {self.total_sigma}, {self.seed}"
            )
        if not math.isclose(shares := sum(task.share for task in self.tasks), 1.0, abs_tol=1e-6):
            raise WrongUse(f"trace {self.name!r}: the tasks' shares add up to 1, not {shares:g}; correct them")
        if len({task.name for task in self.tasks}) < len(self.tasks):
            raise WrongUse(f"trace {self.name!r}: two tasks have the same name; rename one of them")
        positions = [position for position, _ in self.levels]
        if not positions or positions != sorted(set(positions)) or not all(factor > 0 for _, factor in self.levels):
            raise WrongUse(f"trace {self.name!r}: levels need rising positions and factors over 0, not {self.levels}")

    @property
    def mean_tokens(self) -> float:
        means = self.task_means()
        return sum(task.share * means[task.name] for task in self.tasks)

    def task_means(self) -> dict[str, float]:
        positions = (np.arange(_AVERAGED_POINTS) + 0.5) / _AVERAGED_POINTS
        factors = self._factors(positions)
        return {
            task.name: self.uncapped_mean_tokens * float(np.mean(self._capped_means(task.length_level * factors)))
            for task in self.tasks
        }

    def prompt(self, index: int) -> Prompt:
        character = self._character(index)
        expected_tokens = pass_rate = None
        if self.estimate_sigma is not None:
            draws = stream(self.seed, Use.ESTIMATE, index)
            error = math.exp(self.estimate_sigma * draws.standard_normal())
            expected_tokens = self.uncapped_mean_tokens * character.level * error
            pass_rate = draws.binomial(self.trajectories, character.pass_rate) / self.trajectories
        return Prompt(
            key=f"p{index}",
            task=character.task.name,
            trajectories=self.trajectories,
            row=index,
            expected_tokens=expected_tokens,
            pass_rate=pass_rate,
        )

    def prompt_tokens(self, index: int) -> int:
        return self.question_tokens

    def responses(self, index: int, attempt: int) -> Responses:
        character = self._character(index)
        sigma = SAMPLE_SIGMA_SHARE * self.total_sigma
        draws = stream(self.seed, Use.SAMPLES, index, attempt)
        spread = np.exp(sigma * draws.standard_normal(self.trajectories) - sigma * sigma / 2)
        lengths = np.minimum(CAP_MEANS, character.level * spread) * self.uncapped_mean_tokens
        passed = draws.random(self.trajectories) < character.pass_rate
        return Responses(np.maximum(1, np.rint(lengths)).astype(int).tolist(), passed.astype(float).tolist())

    def _character(self, index: int) -> _Character:
        draws = stream(self.seed, Use.PROMPT, index)
        sigma = PROMPT_SIGMA_SHARE * self.total_sigma
        spread = math.exp(sigma * draws.standard_normal() - sigma * sigma / 2)
        task = self._task_at(draws.random())
        pass_rate = draws.beta(PASS_RATE_WEIGHT * task.pass_rate, PASS_RATE_WEIGHT * (1 - task.pass_rate))
        factor = 1.0 if self.levels is STATIONARY else float(self._factors(np.array(index / self.num_prompts)))
        return _Character(task, spread * task.length_level * factor, pass_rate)

    def _task_at(self, place: float) -> Task:
        for task in self.tasks:
            place -= task.share
            if place < 0:
                return task
        return self.tasks[-1]

    def _factors(self, positions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        places, factors = zip(*self.levels, strict=True)
        return np.asarray(np.interp(positions, places, factors), dtype=np.float64)

    def _capped_means(self, levels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Mean of min(cap, level x X), X log-normal with mean 1: the limited expected value in closed form."""
        sigma = self.total_sigma * math.hypot(PROMPT_SIGMA_SHARE, SAMPLE_SIGMA_SHARE)
        reach = np.log(CAP_MEANS / levels) / sigma
        capped: npt.NDArray[np.float64] = levels * ndtr(reach - sigma / 2) + CAP_MEANS * ndtr(-reach - sigma / 2)
        return capped


def named_trace(name: str, *, seed: int, num_prompts: int, trajectories: int = 8) -> LogNormalTrace:
    """One of the design's traces: mild, mid or heavy."""
    if name not in TOTAL_SIGMA:
        raise WrongUse(f"unknown trace {name!r} (known: {', '.join(TOTAL_SIGMA)}); name one of them or a file")
    return LogNormalTrace(
        name=name, total_sigma=TOTAL_SIGMA[name], seed=seed, num_prompts=num_prompts, trajectories=trajectories
    )
