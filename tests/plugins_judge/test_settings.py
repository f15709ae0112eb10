"""Settings from the environment and from a file, right and wrong; and what the plugin registers."""

from __future__ import annotations

from pathlib import Path

import pytest
from pangu_verl_judge.settings import load_settings

from pangu_verl.conformity import shortcoming
from pangu_verl.errors import WrongUse
from pangu_verl.types import RewardSource

GOOD = {"PANGU_VERL_JUDGE_ENDPOINT": "http://judge:8000/v1/", "PANGU_VERL_JUDGE_MODEL": "judge"}


def test_nothing_set_is_no_judge() -> None:
    assert load_settings({"PATH": "/bin"}) is None


def test_variables_are_read_by_field() -> None:
    settings = load_settings({**GOOD, "PANGU_VERL_JUDGE_ATTEMPTS": "2", "PANGU_VERL_JUDGE_TIMEOUT_S": "0.5"})
    assert settings is not None
    assert (settings.endpoint, settings.attempts, settings.timeout_s) == ("http://judge:8000/v1", 2, 0.5)


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "judge.yaml").write_text("endpoint: http://a/v1\nmodel: from-file\nrubric: null\nattempts: 7\n")
    settings = load_settings(
        {"PANGU_VERL_JUDGE_FILE": str(tmp_path / "judge.yaml"), "PANGU_VERL_JUDGE_MODEL": "from-variable"}
    )
    assert settings is not None
    assert (settings.model, settings.attempts) == ("from-variable", 7) and settings.rubric


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PANGU_VERL_JUDGE_MODEL": ""}, "model is not set; set endpoint and model, or pool=true"),
        ({"PANGU_VERL_JUDGE_ENDPOINT": ""}, "endpoint is not set"),
        ({"PANGU_VERL_JUDGE_POOL": "true"}, "unset one of them"),
        ({"PANGU_VERL_JUDGE_POOL": "perhaps"}, "pool: .*valid boolean"),
        ({"PANGU_VERL_JUDGE_ENDPOINT": "judge:8000"}, "endpoint: .*no http or https URL"),
        ({"PANGU_VERL_JUDGE_ENDPOINT": "http://me:secret@judge/v1"}, "must carry no user"),
        ({"PANGU_VERL_JUDGE_ENDPOINT": "http://judge:port/v1"}, "endpoint: .*is no URL"),
        ({"PANGU_VERL_JUDGE_ATEMPTS": "2"}, "atempts: .*known: endpoint, model"),
        ({"PANGU_VERL_JUDGE_ATTEMPTS": "0"}, "attempts: .*greater than or equal to 1"),
        ({"PANGU_VERL_JUDGE_TIMEOUT_S": "nan"}, "timeout_s: .*finite"),
        ({"PANGU_VERL_JUDGE_LOWEST_SCORE": "10"}, "lowest_score 10 is not below highest_score 10"),
        ({"PANGU_VERL_JUDGE_API_KEY_VARIABLE": "JUDGE_KEY"}, "JUDGE_KEY, which is not set"),
        ({"PANGU_VERL_JUDGE_API_KEY_VARIABLE": "JUDGE_KEY", "JUDGE_KEY": "a\nb"}, "characters that no header takes"),
        ({"PANGU_VERL_JUDGE_FILE": "/no/such/file.yaml"}, "expected a readable YAML file"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(WrongUse, match=message) as caught:
        load_settings(GOOD | changes)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "!!python/object/apply:os.getcwd []\n", "just words\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "judge.yaml").write_text(text)
    with pytest.raises(WrongUse, match="PANGU_VERL_JUDGE_FILE"):
        load_settings({"PANGU_VERL_JUDGE_FILE": str(tmp_path / "judge.yaml")})


def test_a_pool_needs_neither_endpoint_nor_model() -> None:
    settings = load_settings({"PANGU_VERL_JUDGE_POOL": "true"})
    assert settings is not None and (settings.endpoint, settings.model) == (None, None)


@pytest.mark.parametrize(
    ("variables", "names"),
    [({}, []), (GOOD, ["judge", "verifier"]), ({"PANGU_VERL_JUDGE_POOL": "true"}, ["judge", "verifier"])],
)
def test_the_plugin_registers_once_it_is_configured(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], names: list[str]
) -> None:
    pytest.importorskip("tenacity", reason="the judge's client needs tenacity: pip install tenacity")
    from pangu_verl_judge.plugin import register_reward_sources

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    registered: list[RewardSource] = []
    register_reward_sources(registered.append)
    assert [source.name for source in registered] == names
    assert all(shortcoming(source, RewardSource) is None for source in registered)
