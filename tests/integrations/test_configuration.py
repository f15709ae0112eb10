"""Every shipped configuration on every backend, and what is said of overrides that cannot work."""

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

DEVICES = {"cpu": "cpu", "cuda": "cuda", "npu_fsdp": "npu", "npu_megatron": "npu"}


def refusal(*overrides: str, name: str = "ppo") -> str:
    """The one line that a composition is refused with."""
    with pytest.raises(WrongUse) as caught:
        compose(name, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what is shipped -------------------------------------------------------------------------------------------------


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
    from pangu_verl.integrations.verl import preflight

    preflight._check_batches(composed[name, backend])


def test_the_engine_in_use_is_megatron_on_its_backend(composed: dict[tuple[str, str], DictConfig]) -> None:
    strategies = {backend: composed["ppo", backend].actor_rollout_ref.actor.strategy for backend in BACKENDS}
    assert strategies == {"cpu": "fsdp2", "cuda": "fsdp2", "npu_fsdp": "fsdp2", "npu_megatron": "megatron"}


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


# --- unknown keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("trainer.total_training_stepz=1", "trainer.total_training_steps"),
        ("~trainer.total_epoch", "trainer.total_epochs"),
        ("Trainer.nnodes=1", "trainer.nnodes"),
        ("lr=1", "actor_rollout_ref.actor.optim.lr"),
    ],
)
def test_an_unknown_key_names_the_nearest(override: str, nearest: str) -> None:
    text = refusal(override)
    assert text.startswith("unknown config key ")
    assert f"did you mean {nearest!r}" in text


def test_a_key_of_the_chosen_backend_alone_is_near_as_well() -> None:
    override = "actor_rollout_ref.actor.megatron.tensor_model_parallel=2"
    assert "megatron.tensor_model_parallel_size'" in refusal("backend=npu_megatron", override)


def test_an_unknown_key_like_no_other_names_the_sections() -> None:
    text = refusal("zzz=1")
    assert "the sections are" in text
    assert "actor_rollout_ref" in text
    assert "sandbox_fusion" not in text


def test_an_added_key_that_exists_is_told_to_drop_the_plus() -> None:
    assert refusal("+trainer.nnodes=2") == "config key 'trainer.nnodes' exists already; write trainer.nnodes=... without the +"


# --- legacy keys -----------------------------------------------------------------------------------------------------

LEGACY = {
    "custom_reward_function.path": "reward.custom_reward_function",
    "custom_reward_function.reward_kwargs.a": "reward.custom_reward_function",
    "reward_model.enable": "reward.reward_model",
    "reward_model.reward_manager": "reward.reward_manager",
    "sandbox_fusion.url": "reward.sandbox_fusion",
    "data.sampler": "trainer.v1.sampler.custom_sampler",
    "data.sampler.class_path": "data.custom_cls",
}


@pytest.mark.parametrize("prefix", ["", "+", "++"])
@pytest.mark.parametrize(("key", "replacement"), LEGACY.items())
def test_a_legacy_key_names_its_replacement_however_it_is_written(prefix: str, key: str, replacement: str) -> None:
    text = refusal(f"{prefix}{key}=x")
    assert text.startswith(f"config key {key!r} is not read by verl's V1 trainer; use ")
    assert replacement in text


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("reward_model={enable: true}", "reward_model"),
        ("~reward_model", "reward_model"),
        ("data={sampler: {class_path: x}}", "data.sampler"),
        ("++data={sampler: {class_path: x}}", "data.sampler"),
    ],
)
def test_a_legacy_key_is_found_inside_a_section(override: str, key: str) -> None:
    assert key in refusal(override)


def test_a_key_that_only_looks_like_a_legacy_one_is_taken() -> None:
    assert compose("ppo", ["reward.reward_model.enable=false", "+reward_models=x"]).reward_models == "x"


def test_verls_legacy_trainer_is_refused() -> None:
    assert "trainer.use_v1" in refusal("trainer.use_v1=false")


# --- malformed overrides ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "override",
    [
        "trainer.total_training_steps=[1",
        "trainer.logger=[console",
        "data.train_files={a",
        "data.train_files=it's",
        "data.train_files='a",
        "a=b=c",
        "trainer.nnodes=1\ndata.seed=2",
    ],
)
def test_a_malformed_override_is_named_with_the_way_to_write_it(override: str) -> None:
    text = refusal(override)
    assert text.startswith(f"override {override!r} is malformed (")
    assert "write key=value" in text


@pytest.mark.parametrize("override", ["", "trainer.nnodes", "-m", "=1", "~", "~=1"])
def test_an_override_without_key_or_value_is_named(override: str) -> None:
    text = refusal(override)
    assert repr(override) in text
    assert "write key=value" in text


@pytest.mark.parametrize("override", ["trainer.nnodes=1,2", "trainer.nnodes=range(1,3)", "data.train_files=a,b"])
def test_a_sweep_is_refused_and_the_list_form_named(override: str) -> None:
    text = refusal(override)
    assert repr(override) in text
    assert "key=[a,b]" in text


def test_quoted_commas_and_a_list_are_no_sweep() -> None:
    config = compose("ppo", ["data.train_files='a,b'", "data.val_files=[c,d]"])
    assert config.data.train_files == "a,b"
    assert list(config.data.val_files) == ["c", "d"]


def test_an_interpolation_of_nothing_names_its_override() -> None:
    override = "data.max_prompt_length=${data.nothing}"
    assert refusal(override) == (
        f"override {override!r}: Interpolation key 'data.nothing' not found; name a key that exists"
    )


@pytest.mark.parametrize("override", ["trainer=1", "~trainer", "data={custom_cls: null}"])
def test_a_section_cannot_be_replaced_by_a_value(override: str) -> None:
    assert "removes config section" in refusal(override)


def test_a_section_cannot_be_replaced_by_a_list() -> None:
    assert refusal("ray_kwargs=[]") == "Error merging override ray_kwargs=[] (Cannot merge DictConfig with ListConfig)"


@pytest.mark.parametrize(
    ("override", "known"), [("model_engine=tpu", "dp, megatron"), ("reward=x", "reward")]
)
def test_an_unknown_choice_of_a_group_lists_the_known(override: str, known: str) -> None:
    text = refusal(override)
    assert f"'{override.replace('=', '/')}'" in text
    assert f"available: {known}" in text


@pytest.mark.parametrize("name", ["nope", "", "common", "../ppo", "backend/cpu", "ppo.yml"])
def test_an_unknown_configuration_lists_the_known(name: str) -> None:
    assert refusal(name=name) == f"unknown configuration {name!r} (known: ppo, quickstart, quickstart_tiny)"


@pytest.mark.parametrize("backend", ["tpu", "", "../ppo", "[cpu]", "null", "CPU"])
def test_an_unknown_backend_lists_the_known(backend: str) -> None:
    text = refusal(f"backend={backend}")
    assert text.startswith("unknown backend ")
    assert text.endswith("(known: cpu, cuda, npu_fsdp, npu_megatron)")


@pytest.mark.parametrize("override", ["+backend=cuda", "++backend=cuda", "~backend"])
def test_a_backend_cannot_be_added_or_taken_away(override: str) -> None:
    assert "backend" in refusal(override)


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
    assert os.environ["GOMP_SPINCOUNT"] == variables(config).GOMP_SPINCOUNT == "20000"


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
    refusal("backend=tpu")
    assert "VERL_PLATFORM" not in os.environ
