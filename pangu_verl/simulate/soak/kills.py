"""When a soak's worker is killed: at any time, inside a ledger transaction, in a checkpoint, or while it resumes.

Invariant: where the kills are aimed follows from the order's seed. Where one of the first kind falls also depends on
the machine, and nothing may depend on that. Who halts for the others is ``halting``, who kills ``lives``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import cycle

import numpy as np

from pangu_verl.simulate.soak.order import SoakOrder

#: The last kill is aimed before this share of the samples, so that there is something left to go on with.
LAST_KILL_SHARE = 0.9
LONGEST_DELAY_S = 0.02
#: Steps on disk (SQL statements and file operations) that a kill is aimed at one of: as many as there are in a
#: checkpoint and in a resumption, and in two training steps.
CHECKPOINT_STEPS = 25
RESUMPTION_STEPS = 53
STATEMENTS_PER_SAMPLE = 5


class Aim(StrEnum):
    """What the worker is killed in the middle of."""

    ANY_TIME = "any_time"
    TRANSACTION = "transaction"
    CHECKPOINT = "checkpoint"
    RESUMPTION = "resumption"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """Once ``after_samples`` were trained on: ``delay_s`` later, or at the worker's ``ordinal``-th step on disk there.

    In a resumption the steps are counted from the start of the worker.
    """

    aim: Aim
    after_samples: int
    ordinal: int
    delay_s: float

    def describe(self) -> str:
        """On one line, for the worker."""
        return json.dumps(asdict(self))


def described_kill(description: str) -> Kill | None:
    """What ``Kill.describe`` gave; None for no kill."""
    found = json.loads(description)
    return Kill(**{**found, "aim": Aim(found["aim"])}) if found else None


def plan_kills(order: SoakOrder) -> list[Kill]:
    """In the order in which they come; each aim in turn, and each step of an aim once before any comes again."""
    draws = np.random.default_rng([order.seed, order.kills])
    after = sorted(draws.integers(0, int(order.samples * LAST_KILL_SHARE), size=order.kills, endpoint=True).tolist())
    most = {
        Aim.ANY_TIME: 1,
        Aim.TRANSACTION: 2 * order.step_samples * STATEMENTS_PER_SAMPLE,
        Aim.CHECKPOINT: CHECKPOINT_STEPS,
        Aim.RESUMPTION: RESUMPTION_STEPS,
    }
    ordinals = {aim: cycle((draws.permutation(steps) + 1).tolist()) for aim, steps in most.items()}
    return [
        Kill(
            aim=aim,
            after_samples=after_samples,
            ordinal=next(ordinals[aim]),
            delay_s=draws.uniform(0.0, LONGEST_DELAY_S),
        )
        for aim, after_samples in zip(cycle(Aim), after, strict=False)
    ]
