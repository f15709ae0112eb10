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
        (("--rollout-share", "1.5"), "rollout_share lies between 0 and 1"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str) -> None:
    answer = call(*arguments)
    assert answer.exit_code == 2
    assert message in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
