"""What is said of configurations and keys: meaning, value, unit, where it is set and who reads it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from importlib.resources import files

import pytest

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl import explain
from pangu_verl.integrations.verl.configuration import BACKENDS, CONFIGURATIONS, explain_legacy_key
from pangu_verl.integrations.verl.explain import ExplainedConfiguration, Explanation, list_configurations
from pangu_verl.plugins import SELECTION, TRACE


def explained(config_name: str, *overrides: str) -> ExplainedConfiguration:
    """As ``ExplainedConfiguration``, without a choice of plugins, and with the environment left as it was."""
    before = dict(os.environ)
    for name in (SELECTION, TRACE):
        os.environ.pop(name, None)
    configuration = ExplainedConfiguration(config_name, overrides)
    os.environ.clear()
    os.environ.update(before)
    return configuration


@pytest.fixture(scope="module")
def ppo() -> ExplainedConfiguration:
    return explained("ppo")


@pytest.fixture(scope="module")
def megatron() -> ExplainedConfiguration:
    return explained(
        "quickstart",
        "backend=npu_megatron",
        "data.max_prompt_length=${data.max_response_length}",
        "+note=here",
        "+extra={inner: {depth: 2}}",
    )


def source_line(place: str) -> str:
    """The line that ``place`` points to."""
    name, _, number = place.rpartition(":")
    package, _, path = name.partition("/")
    return (files(package) / path).read_text().splitlines()[int(number) - 1]


# --- the list --------------------------------------------------------------------------------------------------------


def test_every_configuration_and_every_backend_is_listed_with_what_it_is_for() -> None:
    entries = list_configurations()
    assert [(entry.kind, entry.name) for entry in entries] == [
        *(("configuration", name) for name in CONFIGURATIONS),
        *(("backend", name) for name in BACKENDS),
    ]
    for entry in entries:
        assert entry.meaning.endswith(".")
        assert not entry.meaning.startswith(("#", "@"))


def test_the_list_can_be_written_as_json() -> None:
    first = json.loads(json.dumps([asdict(entry) for entry in list_configurations()]))[0]
    assert (first["name"], first["file"]) == ("ppo", "pangu_verl/config/ppo.yaml")


# --- one key ---------------------------------------------------------------------------------------------------------


def test_a_key_that_verl_alone_sets(ppo: ExplainedConfiguration) -> None:
    found = ppo.explain("algorithm.gamma")
    assert found.meaning == "Discount factor for future rewards"
    assert (found.default, found.type, found.unit, found.also_in) == (1.0, "float", None, ())
    assert found.set_by is not None
    assert found.set_by.startswith("verl/trainer/config/ppo_trainer.yaml:")
    assert source_line(found.set_by).strip() == "gamma: 1.0"


def test_a_key_that_we_override_shows_both_places_and_our_words(ppo: ExplainedConfiguration) -> None:
    found = ppo.explain("trainer.logger")
    assert found.default == ["console", "file"]
    assert found.meaning.startswith("Where metrics go")
    assert found.set_by is not None
    assert found.set_by.startswith("pangu_verl/config/common.yaml:")
    assert source_line(found.set_by).strip() == "logger: [console, file]"
    assert [place.partition(":")[0] for place in found.also_in] == ["verl/trainer/config/ppo_trainer.yaml"]


def test_a_key_of_a_dataclass_section_names_class_field_and_type(ppo: ExplainedConfiguration) -> None:
    found = ppo.explain("actor_rollout_ref.actor.clip_ratio")
    assert found.type == "float"
    assert found.read_by[0].startswith("dataclass verl.workers.config.FSDPActorConfig (verl/workers/config/actor.py:")
    place = found.read_by[0].rpartition("(")[2].removesuffix(")")
    assert source_line(place).strip().startswith("clip_ratio: float")


def test_a_place_that_mentions_a_key_holds_its_name(ppo: ExplainedConfiguration) -> None:
    found = ppo.explain("trainer.checkpoint_callback_class")
    places = [place.removeprefix("mentioned in ") for place in found.read_by]
    assert 1 <= len(places) <= 5
    for place in places:
        assert "checkpoint_callback_class" in source_line(place)


def test_places_that_mention_the_section_as_well_come_first(ppo: ExplainedConfiguration) -> None:
    first = ppo.explain("trainer.v1.sampler.max_off_policy_threshold").read_by[0]
    assert "sampler_config.max_off_policy_threshold" in source_line(first.removeprefix("mentioned in "))


def test_the_trainer_that_runs_is_named_before_verls_others(ppo: ExplainedConfiguration) -> None:
    places = ppo.explain("trainer.logger").read_by
    assert any(place.startswith("mentioned in verl/trainer/ppo/v1/trainer_base.py:") for place in places)


def test_an_interpolated_key_shows_expression_and_value(ppo: ExplainedConfiguration) -> None:
    found = ppo.explain("actor_rollout_ref.rollout.n_gpus_per_node")
    assert found.expression == "${oc.select:trainer.n_gpus_per_node,8}"
    assert found.default == 1
    assert f"  default  1 (from {found.expression})" in found.lines()


def test_a_key_of_a_section_that_is_copied_shows_what_it_is_copied_from(ppo: ExplainedConfiguration) -> None:
    found = ppo.explain("actor_rollout_ref.rollout.mtp.speculative_num_steps")
    assert found.default == 3
    assert found.expression == "${oc.select:actor_rollout_ref.model.mtp, null}"
    assert found.set_by is not None
    assert source_line(found.set_by).startswith("mtp:")


def test_a_section_lists_its_keys(ppo: ExplainedConfiguration) -> None:
    found = ppo.explain("trainer.v1.sampler")
    assert (found.type, found.default) == ("section", None)
    assert "custom_sampler" in found.keys
    assert found.meaning == "Replay buffer sampling strategy"
    assert any("max_off_policy_threshold" in line for line in found.lines())


def test_a_section_of_a_dataclass_names_the_class(ppo: ExplainedConfiguration) -> None:
    first = ppo.explain("algorithm").read_by[0]
    assert first.startswith("dataclass verl.trainer.config.AlgoConfig (verl/trainer/config/algorithm.py:")


def test_a_key_without_a_value_says_that_it_has_to_be_given(ppo: ExplainedConfiguration) -> None:
    found = ppo.explain("reward.reward_model.rollout.name")
    assert found.default == explain.MANDATORY
    assert "  default  ??? (has to be given)" in found.lines()


def test_what_nobody_wrote_is_left_open(ppo: ExplainedConfiguration) -> None:
    found = ppo.explain("reward.reward_model.model_path")
    assert (found.meaning, found.unit) == ("", None)
    assert "  meaning  not documented where it is set" in found.lines()


# --- backends and overrides ------------------------------------------------------------------------------------------


def test_the_backend_decides_which_files_count(megatron: ExplainedConfiguration) -> None:
    found = megatron.explain("actor_rollout_ref.actor.optim.lr_decay_style")
    assert found.default == "cosine"
    assert found.set_by is not None
    assert found.set_by.startswith("pangu_verl/config/cosine/megatron.yaml:")
    assert megatron.explain("trainer.device").default == "npu"


def test_a_key_of_another_backend_is_unknown(ppo: ExplainedConfiguration) -> None:
    with pytest.raises(WrongUse, match="unknown config key"):
        ppo.explain("actor_rollout_ref.actor.megatron.vanilla_mbridge")


def test_an_override_is_named_as_what_sets_a_key(megatron: ExplainedConfiguration) -> None:
    found = megatron.explain("data.max_prompt_length")
    assert found.set_by == "override data.max_prompt_length=${data.max_response_length}"
    assert (found.default, found.expression) == (64, "${data.max_response_length}")
    assert found.also_in[-1].startswith("pangu_verl/config/quickstart.yaml:")


@pytest.mark.parametrize(
    ("key", "value", "override"),
    [("note", "here", "+note=here"), ("extra.inner.depth", 2, "+extra={inner: {depth: 2}}")],
)
def test_a_key_that_an_override_adds_is_explained(
    megatron: ExplainedConfiguration, key: str, value: object, override: str
) -> None:
    found = megatron.explain(key)
    assert (found.default, found.set_by, found.meaning) == (value, f"override {override}", "")


def test_a_variable_that_composing_adds_names_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_TRACE", "1")
    found = explain.explain("ray_kwargs.ray_init.runtime_env.env_vars.PANGU_VERL_TRACE")
    assert (found.default, found.set_by) == ("1", None)
    assert "  set by   no file: added while composing" in found.lines()


# --- keys that cannot be explained -----------------------------------------------------------------------------------


def refusal(configuration: ExplainedConfiguration, key: str) -> str:
    """The one line that a key is refused with."""
    with pytest.raises(WrongUse) as caught:
        configuration.explain(key)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("trainer.loger", "trainer.logger"),
        ("trainer.logger.0", "trainer.logger"),
        ("trainer.nnodes=1", "trainer.nnodes"),
        (".trainer.nnodes", "trainer.nnodes"),
        ("gamma", "algorithm.gamma"),
    ],
)
def test_an_unknown_key_names_the_nearest(ppo: ExplainedConfiguration, key: str, near: str) -> None:
    text = refusal(ppo, key)
    assert text.startswith(f"unknown config key {key!r}; did you mean ")
    assert repr(near) in text


@pytest.mark.parametrize("key", ["", ".", "zzz", "zzz\nzzz", "${trainer}", "hydra.searchpath", "ΐ"])
def test_a_key_like_no_other_is_refused_in_one_line(ppo: ExplainedConfiguration, key: str) -> None:
    assert refusal(ppo, key).startswith(f"unknown config key {key!r}; ")


@pytest.mark.parametrize(
    ("key", "replacement"),
    [("custom_reward_function.path", "reward.custom_reward_function"), ("data.sampler", "trainer.v1.sampler")],
)
def test_a_legacy_key_says_what_replaces_it(ppo: ExplainedConfiguration, key: str, replacement: str) -> None:
    text = refusal(ppo, key)
    assert text.startswith(f"config key {key!r} is not read by verl's V1 trainer; use ")
    assert replacement in text


def test_the_backend_is_said_to_be_a_choice_and_no_key(ppo: ExplainedConfiguration) -> None:
    assert refusal(ppo, "backend").endswith(f"write backend=NAME, one of {', '.join(BACKENDS)}")


@pytest.mark.parametrize(
    ("name", "overrides"), [("nope", ()), ("ppo", ("trainer.nnodes",)), ("ppo", ("custom_reward_function.path=x",))]
)
def test_what_cannot_be_composed_is_not_explained(name: str, overrides: tuple[str, ...]) -> None:
    with pytest.raises(WrongUse):
        explain.explain("trainer.nnodes", name, overrides)


# --- units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "meaning", "value", "unit"),
    [
        ("nccl_timeout", "", 600, "seconds"),
        ("poll_interval_s", "", 0.5, "seconds"),
        ("wait_ms", "", 5, "milliseconds"),
        ("max_num_batched_tokens", "", 1, "tokens"),
        ("max_token_len_per_gpu", "", None, "tokens"),
        ("update_weights_bucket_megabytes", "", 2048, "MB"),
        ("room_gib", "", 1.5, "GiB"),
        ("total_training_steps", "", None, "steps"),
        ("timeout", "Longest wait, in minutes.", 3, "minutes"),
        ("room", "Most memory, in bytes.", "1024", "bytes"),
        ("length", "Number of tokens of an answer.", 7, "tokens"),
        ("length", "", 7, None),
        ("lr_warmup_steps_ratio", "", 0.1, None),
        ("timeout", "", 3, "seconds"),
        ("skip_steps", "", [1, 2], None),
        ("steps", "", None, None),
        ("pad_to_tokens", "", True, None),
        ("mode_tokens", "", "all", None),
        ("tokenise", "Works in tokenised text.", 1, None),
    ],
)
def test_a_unit_is_what_comment_or_name_states_and_is_never_guessed(
    name: str, meaning: str, value: object, unit: str | None
) -> None:
    assert explain._unit(name, meaning, value) == unit


# --- all keys --------------------------------------------------------------------------------------------------------


def test_every_key_can_be_explained(ppo: ExplainedConfiguration) -> None:
    keys = [key for key in ppo.known_keys() if explain_legacy_key(key) is None]
    explanations: list[Explanation] = [ppo.explain(key) for key in keys]
    assert len(keys) > 500
    assert [found.key for found in explanations if found.set_by is None] == []
    for found in explanations:
        assert json.loads(json.dumps(asdict(found)))["key"] == found.key
        assert found.lines()[0] == found.key
