"""What a trainer of ours writes and reports of a step's ages: verl's trainer, on a real TransferQueue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from pangu_verl.integrations.verl.judged_training import _JudgedTraining
from pangu_verl.integrations.verl.scheduling.arrivals import PARTITION, Row
from pangu_verl.integrations.verl.scheduling.buffer import _masked
from pangu_verl.integrations.verl.scheduling.feed import Delivery
from pangu_verl.integrations.verl.scheduling.loss.aged_loss import AgedLoss
from pangu_verl.integrations.verl.zero_advantages import ZeroAdvantages
from pangu_verl.queue.entries import Group, Prompt, Segment, Trajectory
from pangu_verl.scheduler.batch import Batch, taken

pytestmark = pytest.mark.own_process

VERSION, BOUND = 5, 2
#: Row by row: which version made each token; None is a tool's. Session 1 has two outputs.
MADE: Mapping[str, Sequence[int | None]] = {
    "a.0_0_0": (2, 4, 5),
    "a.0_1_0": (3, None, 3),
    "a.0_1_1": (None, 4),
}
PADDING = "pad_0_0"
SCORES = {"a.0_0_0": 1.0, "a.0_1_0": 0.0, "a.0_1_1": 0.0, PADDING: 0.0}


def put(made: Mapping[str, Sequence[int | None]]) -> None:
    fields = []
    for name, versions in [*made.items(), (PADDING, (None,))]:
        mask = torch.tensor([version is not None for version in versions], dtype=torch.int64)
        scores = torch.zeros(len(mask))
        scores[-1] = SCORES[name]
        fields.append(
            {
                "uid": name.split("_")[0],
                "response_mask": mask,
                "loss_mask": mask,
                "rm_scores": scores,
                "extra_fields": {"reward_extra_info": {"judged": True}},
                # The gap of a token is its version in tenths.
                "old_log_probs": torch.full((len(mask),), -1.0),
                "rollout_log_probs": torch.tensor([-1.0 - (version or 0) / 10 for version in versions]),
            }
        )
    tags: list[dict[str, Any]] = [{"is_padding": name == PADDING} for name in [*made, PADDING]]
    tq.kv_batch_put(keys=[*made, PADDING], partition_id=PARTITION, fields=list_of_dict_to_tensordict(fields), tags=tags)


def delivery_of(made: Mapping[str, Sequence[int | None]], version: int) -> Delivery:
    finished: dict[int, Trajectory] = {}
    for session in (0, 1):
        tokens = [made_by for name in made if name.split("_")[1] == str(session) for made_by in made[name]]
        segments = tuple(Segment(made_by, 1) for made_by in tokens if made_by is not None)
        finished[session] = Trajectory(segments)
    group = Group(Prompt(key="a", task="maths", trajectories=2), order=0, admitted_version=0, finished=finished)
    rows = tuple(
        Row(name=name, tag={}, session=int(name.split("_")[1]), index=int(name.split("_")[2])) for name in made
    )
    return Delivery(Batch(0, version, (taken(group, version, BOUND, masks=True),)), {"a": rows})


class Trainer(_JudgedTraining, AgedLoss, PPOTrainerColocateAsync):
    """As a trainer mode of ours, without its scheduler."""


class Step:
    """A step of a trainer with no more than what estimates advantages."""

    def __init__(self, *, weight: float = 1.0, alarm: float | None = None, version: int = VERSION, **correction: Any):
        put(MADE)
        self.metrics: dict[str, float] = {}
        self.trainer: Any = object.__new__(Trainer)
        self.trainer.config = OmegaConf.create(
            {
                "algorithm": {
                    "adv_estimator": "grpo",
                    "gamma": 1.0,
                    "lam": 1.0,
                    "use_kl_in_reward": False,
                    "rollout_correction": {"bypass_mode": True, **correction},
                },
                "actor_rollout_ref": {"rollout": {"n": 2, "calculate_log_probs": True}},
                "pangu": {"loss": {"zero_advantage_mask": False}},
            }
        )
        self.trainer.global_steps, self.trainer._trajectories = 1, []
        self.trainer._zero_advantages = ZeroAdvantages()
        delivery = delivery_of(MADE, version)
        self.trainer.replay_buffer = SimpleNamespace(delivery=delivery)
        self.trainer.checkpoint_manager = SimpleNamespace(abort_replicas=lambda: None, sleep_replicas=lambda: None)
        self.trainer.curr_step_profile = False
        self.trainer._set_up_loss(SimpleNamespace(staleness_weight=weight, log_prob_gap_alarm=alarm))
        keys = [*MADE]
        _masked(KVBatchMeta(partition_id=PARTITION, keys=keys, tags=[{} for _ in keys]), delivery)
        self.trainer.on_sample_end()
        # verl reorders the rows of a batch, and pads it.
        self.batch = KVBatchMeta(
            partition_id=PARTITION,
            keys=[PADDING, *reversed(keys)],
            tags=[{"is_padding": True}, *({} for _ in keys)],
        )

    def advantages(self) -> dict[str, list[float]]:
        self.trainer._compute_advantage(self.batch, self.metrics)
        return {name: values.tolist() for name, values in zip(self.batch.keys, self.read("advantages"), strict=True)}

    def read(self, field: str) -> Any:
        found = tq.kv_batch_get(keys=self.batch.keys, partition_id=PARTITION, select_fields=[field])
        return found[field].unbind()


@pytest.fixture(autouse=True)
def empty(transfer_queue: None) -> None:
    from real_queue import empty_queue

    empty_queue()


#: GRPO of the scores 1 and 0: (1 - 0.5) / (0.7071 + 1e-6).
FULL = pytest.approx(0.70710578, rel=1e-6)


def test_advantages_are_weighted_by_age_after_verls_own() -> None:
    step = Step(weight=0.5)
    assert step.advantages() == {
        PADDING: [0.0],
        "a.0_0_0": [0.0, pytest.approx(0.5 * 0.70710578), FULL],
        "a.0_1_0": [pytest.approx(-0.25 * 0.70710578), 0.0, pytest.approx(-0.25 * 0.70710578)],
        "a.0_1_1": [0.0, pytest.approx(-0.5 * 0.70710578)],
    }
    assert step.metrics["scheduler/staleness_weight/mean"] == pytest.approx((0.5 + 1 + 0.25 + 0.25 + 0.5) / 5)
    assert [row.tolist() for row in step.read("response_mask")] == [[0], [0, 1], [1, 0, 1], [0, 1, 1]]


def test_a_weight_of_1_writes_nothing() -> None:
    step = Step()
    assert step.advantages()["a.0_0_0"] == [0.0, FULL, FULL]
    assert step.metrics == {}


def test_the_gap_is_told_by_lag_where_the_trainer_computes_log_probabilities() -> None:
    step = Step(bypass_mode=False)
    step.trainer._report_gap(step.batch, step.metrics)
    assert step.metrics == pytest.approx(
        {
            "scheduler/log_prob_gap/lag_0/mean": 0.5,
            "scheduler/log_prob_gap/lag_0/max": 0.5,
            "scheduler/log_prob_gap/lag_1/mean": 0.4,
            "scheduler/log_prob_gap/lag_1/max": 0.4,
            "scheduler/log_prob_gap/lag_2/mean": 0.3,
            "scheduler/log_prob_gap/lag_2/max": 0.3,
        }
    )


def test_a_step_without_a_token_in_the_loss_is_not_corrected_and_the_next_one_is() -> None:
    step = Step(version=VERSION + 9, bypass_mode=False, rollout_is="token", rollout_is_threshold=2.0)
    assert not any(any(values) for values in step.advantages().values())
    assert not any(name.startswith("rollout_corr/") for name in step.metrics)
    assert step.trainer.config.algorithm.rollout_correction.bypass_mode is False


def test_verls_correction_stands_beside_the_weights() -> None:
    step = Step(weight=0.5, bypass_mode=False, rollout_is="token", rollout_is_threshold=2.0)
    assert step.advantages()["a.0_0_0"] == [0.0, pytest.approx(0.5 * 0.70710578), FULL]
    assert step.metrics["rollout_corr/rollout_is_mean"] > 1.0
    assert len(step.read("rollout_is_weights")) == 4
