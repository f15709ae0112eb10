"""From the outcomes of a row's tests to its score.

Invariant: 1 for a program that passes every test and less for any other, so ``passed`` and a score of 1 say the same.
The stages are those that the paper's sibling names (extract, syntax, run, compare); their values are a project default,
since none were published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pangu_verl.errors import WrongUse
from pangu_verl.mars.code.outcomes import Outcome, Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeReward:
    """``pass_fraction``: the share of tests passed. ``stage``: what the furthest stage reached is worth."""

    scheme: Literal["pass_fraction", "stage"] = "pass_fraction"
    syntax_error: float = 0.05
    runtime_error: float = 0.1
    wrong: float = 0.2

    def __post_init__(self) -> None:
        if self.scheme not in ("pass_fraction", "stage"):
            raise WrongUse(f"the code reward's scheme is pass_fraction or stage, got {self.scheme!r}")
        if not 0 <= self.syntax_error <= self.runtime_error <= self.wrong < 1:
            raise WrongUse(
                "the code reward's stages rise within [0, 1): syntax_error <= runtime_error <= wrong < 1, "
                f"got {self.syntax_error}, {self.runtime_error}, {self.wrong}"
            )

    @property
    def needs_every_test(self) -> bool:
        """Stages are known at the first test that fails."""
        return self.scheme == "pass_fraction"

    def score(self, outcomes: Sequence[Outcome], num_tests: int) -> float:
        """Of judged outcomes, the first that failed being the last where not every test was needed."""
        num_passed = sum(outcome.passed is True for outcome in outcomes)
        if num_passed == num_tests:
            return 1.0
        if self.scheme == "pass_fraction":
            return num_passed / num_tests
        failure = next(outcome for outcome in outcomes if outcome.passed is not True)
        return self._stage_value(failure.stage)

    def _stage_value(self, stage: Stage) -> float:
        values = {"syntax_error": self.syntax_error, "runtime_error": self.runtime_error, "ran": self.wrong}
        return values.get(stage, self.runtime_error)
