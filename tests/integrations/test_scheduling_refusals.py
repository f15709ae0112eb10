"""What cannot run under our scheduler is refused before anything starts, by its key."""

from __future__ import annotations

from typing import Any

import pytest
from preflight_checks import Change

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.scheduling.refusals import refuse_unfit
from pangu_verl.integrations.verl.scheduling.settings import scheduling_of
from pangu_verl.queue.ledger_store import Durability
from pangu_verl.scheduler.policies import Mask

SSP = {"trainer__v1__trainer_mode": "pangu_ssp", "trainer__v1__pangu_ssp__parameter_sync_step": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pangu__scheduler__policy": "hope"}, r"pangu\.scheduler\.policy=hope .*known: drop, mask, wait"),
        ({"pangu__scheduler__options": {"floor": 1}}, "'mask' has no option 'floor'"),
        ({"pangu__scheduler__bound_versions": -1}, "'bound_versions' is 0 or more versions, not -1"),
        ({"pangu__scheduler__bound_versions": "two"}, r"pangu\.scheduler\.bound_versions is a whole number, not 'two'"),
        ({"pangu__scheduler__window_groups": 1}, "window_groups=1 can never fill a batch"),
        ({"pangu__scheduler__priority": {"speed": 1.0}}, "priority weight 'speed' names no term"),
        ({"pangu__scheduler__durability": "SOME"}, "durability is FULL or NORMAL, not 'SOME'"),
        ({"trainer__v1__pangu_ssp__parameter_sync_step": 3}, "do not divide among parameter_sync_step=3"),
        ({"trainer__v1__separate_async__hybrid_rollout__enable_switch": True}, "enable_switch=true lends devices"),
        ({"algorithm__filter_groups__enable": True}, "filter_groups.enable=true filters in verl's own buffer"),
        ({"actor_rollout_ref__rollout__full_determinism": True}, "full_determinism=true gives requests one name"),
        ({"pangu__scheduler__bound_versions": 0}, "bound_versions=0 with the policy mask"),
        (
            {
                "actor_rollout_ref__rollout__scheduling_policy": "priority",
                "actor_rollout_ref__rollout__agent__default_agent_loop": "tool_agent",
            },
            "tool_agent does not",
        ),
        (
            {
                "actor_rollout_ref__rollout__agent__agent_loop_manager_class": (
                    "verl.trainer.ppo.v1.agent_loop_tq.AgentLoopManagerTQ"
                )
            },
            "derive it from .*ScheduledAgentLoops",
        ),
        ({"pangu__scheduler__controller": "hand"}, r"controller=hand is no bound controller \(known: adaptive\)"),
        (
            {
                "pangu__scheduler__bound_versions": 0,
                "pangu__scheduler__policy": "wait",
                "pangu__scheduler__controller": "adaptive",
                "actor_rollout_ref__rollout__calculate_log_probs": False,
            },
            "controller=adaptive trains on tokens of older policies",
        ),
        (
            {
                "pangu__scheduler__controller": "adaptive",
                "pangu__scheduler__controller_options__least_bound_versions": 0,
            },
            "least_bound_versions=0 with the policy mask",
        ),
        ({"pangu__scheduler__known_prompts": "nowhere.json"}, r"known_prompts=nowhere\.json is no file"),
        ({"pangu__scheduler__wave_groups": 1}, "wave_groups=1 is less than a batch"),
        ({"skip__rollout_tq__enable": True}, "skip.rollout_tq.enable=true"),
        ({"actor_rollout_ref__rollout__calculate_log_probs": False}, "set .*calculate_log_probs=true"),
        ({"actor_rollout_ref__actor__policy_loss__loss_mode": "gspo"}, "loss_mode=gspo weighs whole sequences"),
        ({"algorithm__rollout_correction__rollout_is": "sequence"}, "rollout_is=sequence goes by whole sequences"),
        ({"algorithm__rollout_correction__rollout_rs": "seq_mean_k3"}, "rollout_rs=seq_mean_k3 goes by whole"),
        (
            {"algorithm__rollout_correction__rollout_is": "token"},
            "rollout_is=token has no effect with .*bypass_mode=true",
        ),
        ({"algorithm__rollout_correction__rollout_rs": "token_k1"}, "rollout_rs=token_k1 has no effect with"),
        ({"pangu__scheduler__weights_checksum": "yes"}, "weights_checksum is true or false, not 'yes'"),
        ({"pangu__scheduler__staleness_weight": 0.0}, r"staleness_weight is a number above 0 and up to 1, or null"),
        ({"pangu__scheduler__staleness_weight": 1.5}, r"staleness_weight is a number above 0 and up to 1, .* not 1\.5"),
        ({"pangu__scheduler__staleness_weight": True}, "staleness_weight is a number .* not True"),
        ({"pangu__scheduler__staleness_weight": float("nan")}, "staleness_weight is a number .* not nan"),
        ({"pangu__scheduler__log_prob_gap_alarm": -0.5}, "log_prob_gap_alarm is a number above 0, or null, not -0.5"),
        ({"pangu__scheduler__log_prob_gap_alarm": float("inf")}, "log_prob_gap_alarm is a number above 0, .* not inf"),
        (
            {"pangu__scheduler__log_prob_gap_alarm": 0.5},
            "log_prob_gap_alarm=0.5 compares .*bypass_mode=true the trainer",
        ),
        (
            {
                "pangu__scheduler__log_prob_gap_alarm": 0.5,
                "pangu__scheduler__bound_versions": 0,
                "pangu__scheduler__policy": "wait",
                "algorithm__rollout_correction__bypass_mode": False,
                "actor_rollout_ref__rollout__calculate_log_probs": False,
            },
            "log_prob_gap_alarm=0.5 compares .* which nobody keeps",
        ),
    ],
)
def test_what_cannot_run_is_refused_by_its_key(change: Change, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(WrongUse, match=message):
        refuse_unfit(change(**SSP, **changes) if set(changes).isdisjoint(SSP) else change(**{**SSP, **changes}))


def test_servers_on_the_trainers_devices_serve_one_step_a_publication(change: Change) -> None:
    colocated = {"trainer__v1__trainer_mode": "pangu_ssp_colocate"}
    refuse_unfit(change(**colocated))
    with pytest.raises(WrongUse, match="parameter_sync_step=2: servers on the trainer's devices sleep"):
        refuse_unfit(change(**colocated, trainer__v1__pangu_ssp_colocate__parameter_sync_step=2))


@pytest.mark.parametrize("policy", ["wait", "drop"])
def test_a_loss_by_sequence_may_be_trained_with_whole_trajectories(change: Change, policy: str) -> None:
    loss = {"actor_rollout_ref__actor__policy_loss__loss_mode": "gspo", "pangu__scheduler__policy": policy}
    refuse_unfit(change(**SSP, **loss))


def test_of_verls_own_modes_nothing_is_said(change: Change) -> None:
    refuse_unfit(change(trainer__v1__trainer_mode="separate_async", pangu__scheduler__policy="hope"))


def test_an_alarm_is_kept_where_the_trainer_computes_log_probabilities(change: Change) -> None:
    both = {"pangu__scheduler__log_prob_gap_alarm": 0.5, "algorithm__rollout_correction__bypass_mode": False}
    config = change(**SSP, **both, pangu__scheduler__staleness_weight=None)
    refuse_unfit(config)
    found = scheduling_of(config, 1)
    assert (found.log_prob_gap_alarm, found.staleness_weight) == (0.5, 1.0)


def test_settings_come_from_our_keys_and_verls_batch(change: Change) -> None:
    config = change(
        **SSP,
        data__train_batch_size=8,
        pangu__scheduler__bound_versions=3,
        pangu__scheduler__options={"least_fresh_share": 0.5},
        pangu__scheduler__durability="FULL",
        pangu__scheduler__ledger="/somewhere/ledger.sqlite",
    )
    found = scheduling_of(config, 2)
    assert (found.settings.batch_groups, found.settings.steps_per_version) == (4, 2)
    assert found.settings.bound_versions == 3
    assert found.policy == Mask(least_fresh_share=0.5)
    assert found.durability is Durability.FULL
    assert str(found.ledger) == "/somewhere/ledger.sqlite"


def test_a_controller_gets_its_options(change: Change) -> None:
    adaptive = {"pangu__scheduler__controller": "adaptive", "pangu__scheduler__controller_options__patience_steps": 9}
    controller: Any = scheduling_of(change(**SSP, **adaptive), 1).controller
    assert (controller.name, controller.patience_steps) == ("adaptive", 9)
