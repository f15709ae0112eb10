"""The words of a recommendation follow from its numbers."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from simulate_recommending import MASKS, chosen_with, made_recommendation
from typer.testing import CliRunner

from pangu_verl import cli
from pangu_verl.simulate.advice import command, headline, limits, outlook
from pangu_verl.simulate.order import Order
from pangu_verl.simulate.trials import Setting


def test_the_headline_names_policy_bound_window_and_split() -> None:
    assert headline(made_recommendation()) == (
        "Use mask least_fresh_share=0.5 with bound 4, a window of 320 groups, 341 of 512 devices to roll out."
    )


def test_a_length_that_is_not_reached_is_said_first() -> None:
    said = headline(made_recommendation(is_reached=False, least_length_ratio=0.95))
    assert said.startswith(
        "Nothing that was tried trains on 95% of the natural length. The nearest, with 92.0%, is mask"
    )


def test_stragglers_are_named_where_both_sides_are_idle() -> None:
    [said] = limits(made_recommendation(chosen=chosen_with(trainer_idle_share=0.3, rollout_idle_share=0.2)))
    assert said.startswith("Stragglers: trainer (30.0% of the time) and decode slots (20.0%)")


def test_a_narrow_window_is_named_beside_the_stragglers() -> None:
    chosen = chosen_with(trainer_idle_share=0.3, rollout_idle_share=0.2)
    narrow = replace(chosen, setting=Setting(MASKS[1], 4, 96, 341))
    assert "The window of 96 groups leaves slots empty" in limits(made_recommendation(chosen=narrow))[1]


def test_a_window_of_many_trajectories_a_slot_is_not_blamed() -> None:
    chosen = chosen_with(trainer_idle_share=0.3, rollout_idle_share=0.2)
    wide = replace(chosen, setting=Setting(MASKS[1], 4, 192, 100))
    assert len(limits(made_recommendation(chosen=wide))) == 1


def test_time_of_publications_is_taken_from_what_is_idle_and_named() -> None:
    cluster = made_recommendation().cluster.model_copy(update={"publication_s": 0.2, "prefill_tokens_per_s": 1e4})
    chosen = chosen_with(trainer_idle_share=0.12, rollout_idle_share=0.3, mean_step_s=2.0)
    publication, trainer, contexts = limits(made_recommendation(chosen=chosen, cluster=cluster))
    assert publication == "Publication: everything stands still for 10.0% of the time."
    assert trainer.startswith("The trainer: 20.0% of the decode slots are empty besides while it is busy")
    assert contexts.startswith("Part of it is replicas that rebuild contexts")


def test_the_side_that_is_short_is_named_where_one_is_idle() -> None:
    [rollout] = limits(made_recommendation(chosen=chosen_with(trainer_idle_share=0.3)))
    [trainer] = limits(made_recommendation(chosen=chosen_with(rollout_idle_share=0.3)))
    assert rollout.startswith("Rollout: the trainer is idle for 30.0%")
    assert trainer.startswith("The trainer: 30.0% of the decode slots are empty")


def test_masked_and_wasted_tokens_are_named_where_there_are_any() -> None:
    said = limits(made_recommendation(chosen=chosen_with(masked_share=0.05, wasted_token_share=0.1)))
    assert said[0].startswith("Hardly anything")
    assert said[1:] == [
        "The bound: 5.0% of the consumed tokens are older than 4 versions and stay out of the loss.",
        "Work given up: 10.0% of the tokens are generated for nothing.",
    ]


def test_the_outlook_tells_of_a_version_a_replica_and_full_speed() -> None:
    version, replica, speed = outlook(made_recommendation())
    assert version == ("One more version of staleness (bound 5): +5.0% fresh tokens, trained length 92.0% to 94.0%.")
    assert replica == (
        "One more replica (1 device, 0.2% of those there are) to roll out: +2.0% trained tokens a second."
    )
    assert "L / (W + T) = 5.3, so 6" in speed


def test_a_gain_within_the_noise_is_called_so() -> None:
    said = outlook(made_recommendation(replica_gain=0.01, replica_error=0.01))[1]
    assert said.endswith("no more than runs differ by their seed.")


def test_beyond_the_largest_bound_nothing_is_claimed() -> None:
    assert outlook(made_recommendation(one_more_version=None))[0] == ("More staleness: a bound over 8 was not tried.")


def test_the_command_plays_the_setting_again() -> None:
    order = Order(steps=4, batch_groups=8, trajectories=2, priority={"age": 0.5})
    chosen = replace(chosen_with(), setting=Setting(MASKS[1], 4, 20, 300))
    program, *arguments = shlex.split(command(made_recommendation(order=order, chosen=chosen)))
    assert program == "pangu-verl"
    answer = CliRunner().invoke(cli.app, arguments)
    assert answer.exit_code == 0, answer.output
    assert "mask with bound 4" in answer.output


def test_the_command_quotes_a_path_with_a_blank() -> None:
    said = command(made_recommendation(order=Order(cluster=Path("my cluster.yaml"))))
    assert "--cluster 'my cluster.yaml'" in said
    assert "--train-to-rollout-ratio" not in said
