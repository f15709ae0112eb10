"""What a dry run says: the arithmetic, the processes and the memory; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import DictConfig
from preflight_checks import Change

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.plan import plan_of
from pangu_verl.integrations.verl.plan_text import lines_of


def refusal(config: DictConfig) -> str:
    with pytest.raises(WrongUse) as caught:
        plan_of(config)
    return str(caught.value)


def test_a_plan_counts_every_process(base: DictConfig) -> None:
    plan = plan_of(base)
    assert plan.actors == {
        "task runner": 1,
        "trainer worker": 1,
        "rollout server": 1,
        "rollout worker on a device of its own": 0,
        "agent-loop worker": 1,
        "reward worker": 1,
        "TransferQueue controller": 1,
        "TransferQueue storage": 1,
    }


def test_a_plan_asks_ray_for_what_verl_asks(base: DictConfig) -> None:
    plan = plan_of(base)
    assert (plan.logical_cpus, plan.logical_cpus_offered) == (6, 16)


def test_memory_comes_from_the_weights_themselves(base: DictConfig, tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    plan = plan_of(base)
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert plan.parameters == model.num_parameters()


def test_a_damaged_weight_file_is_named(change: Change, tiny_model: Path, tmp_path: Path) -> None:
    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    text = refusal(change(actor_rollout_ref__model__path=str(tmp_path)))
    assert "model.safetensors is damaged" in text


def test_more_processors_than_are_offered_would_wait_for_ever(change: Change) -> None:
    assert refusal(change(ray_kwargs__ray_init__num_cpus=4)) == (
        "the run asks Ray for 6 logical processors (3 trainer + 2 TransferQueue + 1 placing workers) and is offered 4: "
        "it would wait for ever; set ray_kwargs.ray_init.num_cpus=6 (bookkeeping: it may exceed the cores)"
    )


def test_a_cluster_offers_what_cannot_be_seen_from_here(change: Change) -> None:
    plan_of(change(ray_kwargs__ray_init__num_cpus=4, ray_kwargs__ray_init__address="auto"))


def test_a_plan_refuses_what_a_run_would(change: Change) -> None:
    assert "there is no model folder" in refusal(change(actor_rollout_ref__model__path="./nowhere"))


def test_what_verl_refuses_is_refused_here_too(change: Change) -> None:
    assert refusal(change(actor_rollout_ref__actor__loss_agg_mode="median")).startswith("verl refuses")


def test_a_plan_can_be_made_json_of(base: DictConfig) -> None:
    plan = json.loads(json.dumps(plan_of(base).to_json()))
    assert plan["devices"] == 1
    assert plan["layout"]["prompts_per_step"] == 8


def test_a_plan_in_words_shows_the_arithmetic(base: DictConfig) -> None:
    text = "\n".join(lines_of(plan_of(base)))
    assert "8 prompts x 8 responses = 64" in text
    assert "8 x 8 / 1 data-parallel groups = 64 trajectories" in text
    assert "2 of 32 trajectories" in text
    assert "1 (1 trainer, shared with the rollout)" in text


def test_a_model_behind_an_address_has_no_memory_to_show(change: Change) -> None:
    model = {"actor_rollout_ref__model__path": "hdfs://host/model", "actor_rollout_ref__model__external_lib": None}
    plan = plan_of(change(**model))
    assert plan.parameters is None
    assert "not on this machine" in "\n".join(lines_of(plan))
