"""What is said of overrides that cannot work: one line that names the override and the way to write it."""

from __future__ import annotations

import pytest
from cached_composition import composed

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl import configuration
from pangu_verl.integrations.verl.configuration import compose


@pytest.fixture(autouse=True)
def cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "_composed", composed)


def refusal(*overrides: str, name: str = "ppo") -> str:
    """The one line that a composition is refused with."""
    with pytest.raises(WrongUse) as caught:
        compose(name, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    assert (
        refusal("+trainer.nnodes=2")
        == "config key 'trainer.nnodes' exists already; write trainer.nnodes=... without the +"
    )


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


@pytest.mark.parametrize(("override", "known"), [("model_engine=tpu", "dp, megatron"), ("reward=x", "reward")])
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
    assert text.endswith("(known: cpu, cuda, cuda_megatron, npu_fsdp, npu_megatron)")


@pytest.mark.parametrize("override", ["+backend=cuda", "++backend=cuda", "~backend"])
def test_a_backend_cannot_be_added_or_taken_away(override: str) -> None:
    assert "backend" in refusal(override)
