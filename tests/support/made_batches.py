"""Training batches on a queue in memory, and verl's trainers with no more than what they estimate advantages with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from made_queue import MadeQueue
from omegaconf import OmegaConf
from verl.trainer.ppo.v1 import get_trainer_cls, trainer_base

from pangu_verl.integrations.verl import queue_rows
from pangu_verl.integrations.verl.judged_training import judging_trainer
from pangu_verl.integrations.verl.zero_advantages import ZeroAdvantages


@dataclass(frozen=True)
class Row:
    """One trajectory: its group, its session in it, which output of the session, and what its reward says."""

    group: int
    session: int
    score: float
    judged: bool = True
    tokens: int = 2
    output: int = 0

    @property
    def key(self) -> str:
        return f"group{self.group}_{self.session}_{self.output}"


@contextmanager
def queue_in_memory() -> Iterator[MadeQueue]:
    made = MadeQueue()
    with pytest.MonkeyPatch.context() as patch:
        for module in (trainer_base, queue_rows):
            patch.setattr(module, "tq", made)
        yield made


def fill(queue: MadeQueue, rows: Sequence[Row], **fields: float) -> None:
    queue.rows.clear()
    queue.tags.clear()
    for row in rows:
        scores = torch.zeros(row.tokens)
        scores[-1] = row.score if row.judged else 0.0
        queue.add(
            row.key,
            uid=f"group{row.group}",
            response_mask=torch.ones(row.tokens, dtype=torch.int64),
            loss_mask=torch.ones(row.tokens, dtype=torch.int64),
            rm_scores=scores,
            extra_fields={"reward_extra_info": {"judged": row.judged, "source": "maths", "reason": "no gold"}},
            **{name: torch.full((row.tokens,), value) for name, value in fields.items()},
        )


def trainer(mode: str = "sync", *, n: int = 4, masks_zero_advantages: bool = False, **algorithm: Any) -> Any:
    """A trainer of verl with no more than what it estimates advantages with."""
    made = object.__new__(get_trainer_cls(judging_trainer(mode)))
    settings = {"adv_estimator": "grpo", "gamma": 1.0, "lam": 1.0, "use_kl_in_reward": False, **algorithm}
    made.config = OmegaConf.create(
        {
            "algorithm": settings,
            "actor_rollout_ref": {"rollout": {"n": n}},
            "pangu": {"loss": {"zero_advantage_mask": masks_zero_advantages}},
        }
    )
    made.global_steps = 3
    made._trajectories = []
    made._zero_advantages = ZeroAdvantages()
    return made
