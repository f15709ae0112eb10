"""Named corrections: verl's own keys, written where the user left them alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from omegaconf import OmegaConf
from verl.trainer.config import RolloutCorrectionConfig

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.configuration import compose
from pangu_verl.integrations.verl.explain import ExplainedConfiguration
from pangu_verl.integrations.verl.scheduling.loss.corrections import PRESETS, SECTION
from pangu_verl.integrations.verl.scheduling.refusals import refuse_unfit

SSP = ("trainer.v1.trainer_mode=pangu_ssp", "trainer.v1.separate_async.parameter_sync_step=1")
BY_VERL = {
    "clip": RolloutCorrectionConfig.bypass_ppo_clip(),
    "token_is": RolloutCorrectionConfig.decoupled_token_is(),
    "token_icepop": RolloutCorrectionConfig.decoupled_token_icepop(),
    "sequence_is": RolloutCorrectionConfig.decoupled_seq_is(),
}


@pytest.fixture(autouse=True)
def environment_put_back() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def preset(name: str) -> str:
    return f"pangu.scheduler.correction={name}"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_one_of_verls_own(name: str) -> None:
    section = OmegaConf.select(compose("quickstart_tiny", [*SSP, preset(name)]), SECTION)
    assert {key: section[key] for key in PRESETS[name]} == {key: BY_VERL[name][key] for key in PRESETS[name]}


def test_without_a_preset_verls_keys_stay_which_is_clip() -> None:
    section = OmegaConf.select(compose("quickstart_tiny", SSP), SECTION)
    assert {key: section[key] for key in PRESETS["clip"]} == dict(PRESETS["clip"])


def test_verls_own_modes_are_left_alone() -> None:
    assert OmegaConf.select(compose("quickstart_tiny", [preset("token_is")]), SECTION).rollout_is is None


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("algorithm.rollout_correction.bypass_mode=true", "bypass_mode=true"),
        ("algorithm.rollout_correction.rollout_is=sequence", "rollout_is=sequence"),
        ("algorithm.rollout_correction={rollout_is_threshold:3.0}", "rollout_is_threshold=3.0"),
        ("algorithm.rollout_correction.rollout_is=null", "rollout_is=null"),
    ],
)
def test_a_key_that_the_user_set_to_something_else_conflicts_by_name(override: str, named: str) -> None:
    with pytest.raises(WrongUse) as caught:
        compose("quickstart_tiny", [*SSP, preset("token_is"), override])
    assert str(caught.value).startswith(f"algorithm.rollout_correction.{named} conflicts with {preset('token_is')}")


def test_a_key_that_the_user_set_to_the_same_stays() -> None:
    chosen = [*SSP, preset("token_is"), "algorithm.rollout_correction={rollout_is:token,bypass_mode:false}"]
    assert OmegaConf.select(compose("quickstart_tiny", chosen), SECTION).rollout_is == "token"


def test_an_unknown_preset_is_named_with_those_there_are() -> None:
    with pytest.raises(WrongUse, match=r"correction=hope is no preset \(known: clip, token_is, token_icepop, sequence"):
        compose("quickstart_tiny", [*SSP, preset("hope")])


def test_what_a_preset_sets_is_explained_by_its_name() -> None:
    explained = ExplainedConfiguration("ppo", [*SSP, preset("token_is")])
    found = explained.explain("algorithm.rollout_correction.bypass_mode")
    assert (found.default, found.set_by) == (False, "preset pangu.scheduler.correction=token_is")
    assert found.also_in
    assert "token_icepop" in explained.explain("pangu.scheduler.correction").meaning


def test_a_weight_for_whole_responses_is_refused_where_tokens_are_left_out() -> None:
    config = compose("quickstart_tiny", [*SSP, preset("sequence_is")])
    with pytest.raises(WrongUse, match=r"rollout_is=sequence \(of pangu\.scheduler\.correction=sequence_is\) goes by"):
        refuse_unfit(config)
    refuse_unfit(compose("quickstart_tiny", [*SSP, preset("sequence_is"), "pangu.scheduler.policy=wait"]))
