"""Comparison, code extraction and settings by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pangu_verl_sandboxfusion.comparison import same_output
from pangu_verl_sandboxfusion.rows import code_of
from pangu_verl_sandboxfusion.settings import load_settings

from pangu_verl.errors import WrongUse

ENDPOINT = {"PANGU_VERL_SANDBOXFUSION_ENDPOINT": "http://sandbox:8080/"}
TOKENS = st.lists(
    st.one_of(st.text("ab", min_size=1, max_size=3), st.integers().map(str), st.floats(-1e9, 1e9).map(repr)), max_size=8
)


@settings(deadline=None)
@given(TOKENS, st.sampled_from([" ", "\n", "\t \n"]))
def test_white_space_is_not_compared(tokens: list[str], space: str) -> None:
    assert same_output(space.join(tokens) + space, " ".join(tokens))


@settings(deadline=None)
@given(TOKENS, TOKENS)
def test_comparison_is_symmetric(one: list[str], other: list[str]) -> None:
    assert same_output(" ".join(one), " ".join(other)) == same_output(" ".join(other), " ".join(one))


@settings(deadline=None)
@given(TOKENS, st.integers(0, 8), st.text("cd", min_size=1, max_size=3))
def test_one_token_more_is_another_output(tokens: list[str], place: int, extra: str) -> None:
    assert not same_output(" ".join([*tokens[:place], extra, *tokens[place:]]), " ".join(tokens))


@settings(deadline=None)
@given(st.integers(), st.integers().filter(bool))
def test_whole_numbers_compare_exactly(number: int, distance: int) -> None:
    assert not same_output(str(number + distance), str(number))


@pytest.mark.parametrize(
    ("output", "expected", "same"),
    [
        ("0.333333349", "0.3333333333", True),
        ("0.3333", "0.3333333333", False),
        ("3.0", "3", True),
        ("+7 007", "7 7", True),
        ("1e3", "1000", True),
        ("nan", "nan", True),
        ("inf", "1e999", False),
        ("1e400", "2e400", False),
        ("1_000", "1000", False),
        ("٣", "3", False),
        ("yes", "YES", False),
        ("", "", True),
        ("", "0", False),
        ("1" * 100_000, "1" * 99_999 + "2", False),
        ("1" * 100_000, "1" * 100_000, True),
        ("a\0b", "ab", False),
        ("True", "1", False),
    ],
)
def test_tokens_compare_as_people_expect(output: str, expected: str, same: bool) -> None:
    assert same_output(output, expected) is same


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("print(1)", "print(1)"),
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("a\n```\n1\n```\nb\n~~~py\n2\n~~~\n", "2\n"),
        ("````\n```\ninner\n```\n````", "```\ninner\n```\n"),
        ("```python\nnever closed", "```python\nnever closed"),
        ("say ```x``` inline", "say ```x``` inline"),
    ],
)
def test_code_is_the_last_fenced_block(answer: str, code: str) -> None:
    assert code_of(answer) == code


def test_a_megabyte_of_fences_is_read() -> None:
    assert code_of("```\n" * 50_000 + "x") in ("", "```\n" * 50_000 + "x")


def test_nothing_set_is_no_sandbox() -> None:
    assert load_settings({"PATH": "/bin"}) is None


def test_variables_are_read_by_field() -> None:
    settings = load_settings(ENDPOINT | {"PANGU_VERL_SANDBOXFUSION_RUN_TIMEOUT_S": "2.5"})
    assert settings is not None
    assert (settings.endpoint, settings.run_timeout_s) == ("http://sandbox:8080", 2.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PANGU_VERL_SANDBOXFUSION_ENDPOINT": "sandbox"}, "endpoint: .*no http or https URL"),
        ({"PANGU_VERL_SANDBOXFUSION_TIMEOUT": "2"}, "timeout: .*known: endpoint"),
        ({"PANGU_VERL_SANDBOXFUSION_ATTEMPTS": "none"}, "attempts: .*valid integer"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, str], message: str) -> None:
    with pytest.raises(WrongUse, match=message):
        load_settings(ENDPOINT | changes)


@pytest.mark.parametrize(("variables", "number"), [({}, 0), (ENDPOINT, 1)])
def test_the_plugin_registers_once_it_is_configured(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], number: int
) -> None:
    pytest.importorskip("tenacity", reason="the client of SandboxFusion needs tenacity: pip install tenacity")
    from pangu_verl_sandboxfusion.plugin import register_reward_sources

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    registered: list[object] = []
    register_reward_sources(registered.append)
    assert len(registered) == number
