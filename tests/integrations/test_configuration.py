"""Every shipped configuration on every backend, as verl's own classes and checks see it, and its environment."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.configuration import (
    BACKENDS,
    CONFIGURATIONS,
    apply_backend_environment,
    compose,
    whole_number,
)

DEVICES = {"cpu": "cpu", "cuda": "cuda", "cuda_megatron": "cuda", "npu_fsdp": "npu", "npu_megatron": "npu"}


@pytest.fixture(scope="module")
def composed(tiny_model: Path) -> dict[tuple[str, str], DictConfig]:
    """Every configuration on every backend, with the tiny model for actor and critic."""
    before = dict(os.environ)
    models = [f"{section}.model.path={tiny_model}" for section in ("actor_rollout_ref", "critic")]
    found = {
        (name, backend): compose(name, [f"backend={backend}", *models])
        for name in CONFIGURATIONS
        for backend in BACKENDS
    }
    os.environ.clear()
    os.environ.update(before)
    return found


def test_every_file_that_can_be_named_is_known_by_name() -> None:
    import pangu_verl.config

    folder = Path(pangu_verl.config.__file__).parent
    assert {path.stem for path in folder.glob("*.yaml")} == {*CONFIGURATIONS, "common"}
    assert {path.stem for path in (folder / "backend").glob("*.yaml")} == set(BACKENDS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_backend_decides_the_device_and_nothing_is_left_open(
    composed: dict[tuple[str, str], DictConfig], name: str, backend: str
) -> None:
    config = composed[name, backend]
    assert config.trainer.device == DEVICES[backend]
    assert config.actor_rollout_ref.rollout.name == ("pangu_cpu" if backend == "cpu" else "vllm")
    assert "${" not in OmegaConf.to_yaml(config)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CONFIGURATIONS)
@pytest.mark.parametrize(
    "section",
    ["actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.model", "critic", "algorithm"],
)
def test_verls_own_dataclasses_take_every_section(
    composed: dict[tuple[str, str], DictConfig], name: str, backend: str, section: str
) -> None:
    from verl.utils.config import omega_conf_to_dataclass

    node = OmegaConf.select(composed[name, backend], section)
    made = omega_conf_to_dataclass(node)
    assert type(made).__name__ == node._target_.rpartition(".")[2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_verl_finds_every_configuration_valid(
    composed: dict[tuple[str, str], DictConfig], name: str, backend: str
) -> None:
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    config = composed[name, backend]
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reference_policy_and_a_critic_can_be_asked_for(
    composed: dict[tuple[str, str], DictConfig], backend: str
) -> None:
    from verl.utils.config import validate_config

    config = copy.deepcopy(composed["quickstart", backend])
    config.actor_rollout_ref.actor.use_kl_loss = True
    config.algorithm.adv_estimator = "gae"
    validate_config(config, use_reference_policy=True, use_critic=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_our_own_check_of_the_batches_passes(
    composed: dict[tuple[str, str], DictConfig], name: str, backend: str
) -> None:
    from pangu_verl.integrations.verl.layout import layout_of

    layout_of(composed[name, backend])


def test_the_engine_in_use_is_megatron_on_its_backend(composed: dict[tuple[str, str], DictConfig]) -> None:
    strategies = {backend: composed["ppo", backend].actor_rollout_ref.actor.strategy for backend in BACKENDS}
    assert strategies == {name: "megatron" if name.endswith("megatron") else "fsdp2" for name in BACKENDS}


def test_the_plugins_named_in_every_configuration_exist(composed: dict[tuple[str, str], DictConfig]) -> None:
    from verl.trainer.ppo.reward import resolve_reward_manager_cls
    from verl.utils.import_utils import load_extern_object

    for config in composed.values():
        assert resolve_reward_manager_cls(config).__name__ == "PanguRewardManager"
        sampler = config.trainer.v1.sampler.custom_sampler
        assert callable(load_extern_object(sampler.path, sampler.name))


def test_the_ending_of_a_configurations_file_may_be_written() -> None:
    assert compose("ppo.yaml", []).trainer.project_name == "pangu_verl"


def test_an_override_wins_over_configuration_and_backend() -> None:
    config = compose("quickstart", ["trainer.n_gpus_per_node=2", "data.train_batch_size=16", "+note=here"])
    assert (config.trainer.n_gpus_per_node, config.data.train_batch_size, config.note) == (2, 16, "here")


def test_the_last_of_two_backends_wins() -> None:
    assert compose("ppo", ["backend=cpu", "backend='npu_fsdp'"]).trainer.device == "npu"


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["abc", "7", 0, -1, 1.5, True, None, [1]])
def test_a_value_that_has_to_be_a_whole_number_is_named(value: object) -> None:
    config = OmegaConf.create({"trainer": {"nnodes": value}})
    with pytest.raises(WrongUse) as caught:
        whole_number(config, "trainer.nnodes")
    assert str(caught.value) == (
        f"trainer.nnodes takes a whole number of at least 1, got {value!r}; set trainer.nnodes=..."
    )


def test_a_whole_number_is_read() -> None:
    assert whole_number(OmegaConf.create({"trainer": {"nnodes": 7}}), "trainer.nnodes") == 7


# --- the environment -------------------------------------------------------------------------------------------------


def variables(config: DictConfig) -> Any:
    return config.ray_kwargs.ray_init.runtime_env.env_vars


def test_a_backends_environment_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    apply_backend_environment("cpu")
    assert os.environ["VERL_PLATFORM"] == "cpu"


def test_what_the_user_has_set_stays_in_this_process_and_in_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    config = compose("ppo", ["backend=cpu"])
    assert os.environ["OMP_NUM_THREADS"] == variables(config).OMP_NUM_THREADS == "7"
    assert os.environ["GOMP_SPINCOUNT"] == variables(config).GOMP_SPINCOUNT == "200000"


def test_an_override_of_a_workers_variable_wins_over_the_users_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    config = compose("ppo", ["ray_kwargs.ray_init.runtime_env.env_vars.OMP_NUM_THREADS='3'"])
    assert variables(config).OMP_NUM_THREADS == "3"


def test_the_environment_is_set_before_verl_is_imported() -> None:
    program = """
import os, sys

class Finder:
    def find_spec(name, path=None, target=None):
        if name in ("verl", "torch", "ray"):
            print(name, os.environ.get("VERL_PLATFORM"))

sys.meta_path.insert(0, Finder)
from pangu_verl.integrations.verl.configuration import compose
compose("ppo", [])
import verl
"""
    clean = {name: value for name, value in os.environ.items() if name != "VERL_PLATFORM"}
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=clean, check=True)
    assert sorted(set(answer.stdout.splitlines())) == ["ray cpu", "torch cpu", "verl cpu"]


def test_a_refused_backend_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    with pytest.raises(WrongUse):
        compose("ppo", ["backend=tpu"])
    assert "VERL_PLATFORM" not in os.environ


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["PANGU_VERL_PLUGINS", "PANGU_VERL_TRACE"])
def test_the_choice_of_plugins_reaches_workers_of_other_nodes(
    monkeypatch: pytest.MonkeyPatch, name: str, backend: str
) -> None:
    monkeypatch.setenv(name, "mars")
    config = compose("ppo", [f"backend={backend}"])
    assert config.ray_kwargs.ray_init.runtime_env.env_vars[name] == "mars"
