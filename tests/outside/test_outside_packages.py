"""What users build on: wheels outside the checkout, a reward from the template, a package that replaces our parts."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

Shell = Callable[..., subprocess.CompletedProcess[str]]


def readme_block(language: str) -> str:
    """The block of code in the README's section on rewards."""
    section = (ROOT / "README.md").read_text().partition("## Write a reward in 30 lines")[2].partition("\n## ")[0]
    blocks = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


def commands() -> list[str]:
    """The README's commands one by one."""
    return [line for line in readme_block("sh").replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture(scope="session")
def trained_with_the_template(outside: Shell) -> subprocess.CompletedProcess[str]:
    """The README's commands, word for word; the last one trains."""
    *first, train = commands()
    for command in first:
        outside(command)
    assert train.startswith("pangu-verl quickstart --model tiny")
    return outside(f"{train} --run-dir template-run", PANGU_VERL_TRACE="1")


@pytest.mark.timeout(900)
def test_the_readmes_reward_trains_outside_the_checkout(
    trained_with_the_template: subprocess.CompletedProcess[str], outside: Shell
) -> None:
    assert json.loads(outside("cat template-run/run.json").stdout)["status"] == "finished"
    assert "pangu_verl trace: register_reward_sources() in close_number" in outside("cat template-run/logs/*").stdout
    reasons = outside("cat template-run/validation/*.jsonl").stdout.splitlines()
    assert {re.sub(r"\d+", "N", json.loads(line)["reason"]) for line in reasons} <= {"off by N", "no number found"}


def test_the_readme_shows_the_reward_that_the_template_makes(
    trained_with_the_template: subprocess.CompletedProcess[str], outside: Shell
) -> None:
    made = outside("cat pangu-verl-close-number/pangu_verl_close_number.py").stdout
    assert made == readme_block("python")
    assert len(made.splitlines()) <= 32


def test_the_templates_own_tests_pass(
    trained_with_the_template: subprocess.CompletedProcess[str], outside: Shell
) -> None:
    outside("pip install --quiet pytest && cd pangu-verl-close-number && python -m pytest -q")


def test_a_reward_whose_name_is_no_identifier_is_refused_by_the_template(
    trained_with_the_template: subprocess.CompletedProcess[str], outside: Shell
) -> None:
    ended = outside("cookiecutter --no-input plugins/template reward=Close-Number", fails=True)
    assert ended.returncode != 0
    assert "'Close-Number' is no lower-case Python identifier" in ended.stderr + ended.stdout
    assert outside("ls").stdout.split().count("pangu-verl-Close-Number") == 0


def test_installed_plugins_are_listed_with_hooks_and_origin(
    trained_with_the_template: subprocess.CompletedProcess[str], outside: Shell
) -> None:
    listed = {record["name"]: record for record in json.loads(outside("pangu-verl plugins --json").stdout)}
    assert set(listed) == {"mars", "scheduler", "close_number", "example"}
    assert all(record["status"] == "ready" for record in listed.values())
    assert listed["example"]["distribution"] == "pangu-verl-example"
    assert listed["example"]["hooks"] == sorted(hooks())


@pytest.mark.slow
def test_two_rewards_for_one_ability_have_to_be_chosen_between(
    trained_with_the_template: subprocess.CompletedProcess[str], outside: Shell
) -> None:
    ended = outside("pangu-verl quickstart --model tiny --run-dir undecided", fails=True)
    assert ended.returncode == 2
    assert "rows of ability 'math' are claimed by the reward sources" in ended.stderr
    assert "choose with pangu.rewards.sources=" in ended.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_package_from_outside_replaces_one_of_each_kind(outside: Shell) -> None:
    """A row for each kind of hook: what shows that the example's object was used and not ours."""
    used = used_in_training(outside) | used_in_simulation(outside)
    assert used == dict.fromkeys(hooks(), True)


def used_in_training(outside: Shell) -> dict[str, bool]:
    outside(
        "pangu-verl quickstart --model tiny --run-dir example-run 'pangu.rewards.terms=[shouting]' "
        "trainer.total_training_steps=2 trainer.test_freq=2 trainer.save_freq=2 trainer.val_before_train=false",
        PANGU_VERL_PLUGINS="example",
    )
    answers = [json.loads(line) for line in outside("cat example-run/validation/*.jsonl").stdout.splitlines()]
    reasons = {answer["reason"] for answer in answers}
    saved = json.loads(outside("cat example-run/checkpoints/global_step_2/example.json").stdout)
    return {
        "register_reward_sources": reasons <= {"same text", "other text"},
        "register_auxiliary_terms": all("auxiliary/shouting" in answer for answer in answers),
        "on_checkpoint_saved": saved == {"step": 2, "is_durable": True},
    }


def used_in_simulation(outside: Shell) -> dict[str, bool]:
    """A policy that gives nothing up, a controller that allows a lag of 1, a term that changes what is trained on."""
    theirs = simulated(outside, "--policy keep_all --controller cautious")
    ordered = simulated(outside, "--policy keep_all --controller cautious --priority youngest_first=1")
    return {
        "register_staleness_policies": (theirs["policy"], theirs["dropped_share"]) == ("keep_all", 0.0),
        "register_bound_controllers": (theirs["staleness_bound"], theirs["max_trained_lag"]) == (4, 1),
        "register_priority_terms": theirs["outcomes"] != ordered["outcomes"],
    }


def simulated(outside: Shell, options: str) -> dict[str, Any]:
    """What a small run with the example's parts alone comes to; ours train at a lag of 4 here, and ``mask`` drops."""
    sizes = "--staleness 4 --trace heavy --steps 30 --batch-groups 16 --trajectories 4"
    ended = outside(f"pangu-verl simulate {options} {sizes} --json", PANGU_VERL_PLUGINS="example")
    outcome: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return outcome


def hooks() -> list[str]:
    from pangu_verl.plugin_hooks import HOOKS

    return list(HOOKS)
