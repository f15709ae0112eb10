"""``pangu-verl simulate`` as its users call it; advice and soaks are in test_cli_simulate_runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from pangu_verl import cli

SMALL = ("--steps", "4", "--batch-groups", "8", "--trajectories", "2")
#: What the design promises to others.
PROMISED = {
    "policy",
    "staleness_bound",
    "trace",
    "train_to_rollout_ratio",
    "ceiling_share",
    "bound_share",
    "fresh_token_share",
    "trained_length_ratio",
    "masked_share",
    "dropped_share",
    "max_trained_lag",
    "violations",
}


def call(*arguments: str) -> Any:
    return CliRunner().invoke(cli.app, ["simulate", *SMALL, *arguments])


@pytest.mark.parametrize(
    "policy", ["sync", "wait", "drop", "mask", "verl_drop", "verl_wait", "admission", "one_step_off"]
)
def test_every_policy_prints_what_was_promised(policy: str) -> None:
    answer = call("--policy", policy, "--json")
    found = json.loads(answer.stdout.splitlines()[-1])
    assert answer.exit_code == 0
    assert found.keys() >= PROMISED
    assert found["policy"] == policy


def test_people_read_shares_in_per_cent_and_what_they_mean() -> None:
    answer = call("--seeds", "2")
    assert answer.exit_code == 0
    assert "means of 2 seeds" in answer.stdout
    assert "fresh tokens" in answer.stdout
    assert "0 trained tokens over s" in answer.stdout


def test_options_and_weights_are_pairs_of_name_and_number() -> None:
    answer = call("--option", "least_fresh_share=0.5", "--option", "most_evictions=2", "--priority", "age=1", "--json")
    assert answer.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--option", "least_fresh_share"), "--option takes NAME=NUMBER, not 'least_fresh_share'"),
        (("--priority", "age=much"), "--priority takes NAME=NUMBER, not 'age=much'"),
        (("--policy", "mark"), "unknown policy 'mark'"),
        (("--trace", "nothing.jsonl"), "nothing.jsonl"),
        (("--trace", "hard"), "unknown trace 'hard'"),
        (("--recommend", "--soak"), "two things"),
        (("--run-dir", "runs/x"), "a plain simulation writes no files"),
        (("--train-to-rollout-ratio", "0"), "T/W is a number over 0"),
        (("--train-to-rollout-ratio", "inf"), "T/W is a number over 0"),
        (("--cluster", "c.yaml", "--train-to-rollout-ratio", "1"), "give one of them"),
        (("--samples", "5"), "--samples and --kills go with --soak"),
        (("--least-length-ratio", "0.5"), "--least-length-ratio goes with --recommend"),
        (("--drift", "0.1"), "--drift and --controller-option are for a controller"),
        (("--policy", "sync", "--staleness", "1"), "sync has a bound of its own"),
        (("--policy", "admission", "--warm-up", "1"), "does not take --warm-up"),
        (("--controller", "adaptive", "--controller-option", "speed=1"), "'adaptive' has no option 'speed'"),
        (("--rollout-share", "1.5"), "rollout_share lies between 0 and 1"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    answer = call(*arguments)
    assert answer.exit_code == 2
    assert message in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_without_a_warm_up_verls_best_is_looked_for() -> None:
    found = json.loads(call("--policy", "verl_drop", "--staleness", "1", "--json").stdout.splitlines()[-1])
    assert found["warm_up_batches"] in (0.0, 0.5, 1.0, 1.5)
    assert "best of a sweep" in call("--policy", "verl_drop", "--staleness", "1").stdout


def test_where_a_controller_moved_the_bound_is_said() -> None:
    arguments = ("--controller", "adaptive", "--controller-option", "patience_steps=1", "--drift", "0.01")
    found = json.loads(call(*arguments, "--steps", "12", "--json").stdout.splitlines()[-1])
    assert found["bound_course"]["least"] <= found["bound_course"]["last"] <= found["bound_course"]["most"]
    assert found["staleness_bound"] == found["bound_course"]["most"]
    assert found["violations"] == 0


def test_a_priority_meets_prompts_of_which_something_is_known() -> None:
    plain, by_length = (
        json.loads(call("--steps", "20", "--json", *weights).stdout.splitlines()[-1])
        for weights in ((), ("--priority", "expected_length=1"))
    )
    assert plain["fresh_token_share"] != by_length["fresh_token_share"]
