"""What a configuration may say of the code reward."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.errors import WrongUse
from pangu_verl.mars.code.options import CodeOptions, code_options
from pangu_verl.mars.code.source import CodeSource
from pangu_verl.plugins import load_plugins
from pangu_verl.types import RewardRow, RewardSource

ROW = RewardRow(
    id="1",
    domain="code",
    question="",
    response="",
    answer="def f(x): return x",
    tests=[{"kind": "call", "entry_point": "f", "args": [x], "expected": 1} for x in (0, 1)],
)


def judged(options: Mapping[str, Any]) -> tuple[bool | None, float | None]:
    source = CodeSource().with_options(options)
    verdict = asyncio.run(source.judge(ROW))
    source.close()
    return verdict.passed, verdict.score


def test_the_code_reward_is_registered_and_starts_nothing() -> None:
    before = psutil.Process().children(recursive=True)
    source = load_plugins().reward_sources["code"]
    assert source.domains == frozenset({"code"})
    assert psutil.Process().children(recursive=True) == before


def test_without_options_all_is_as_by_default() -> None:
    assert judged({}) == (False, 0.5)
    assert code_options({"scheme": None, "slots": None}) == CodeOptions()


def test_stages_and_their_values_are_taken() -> None:
    assert judged({"scheme": "stage", "wrong": 0.3, "slots": 1}) == (False, 0.3)


def test_options_make_another_source_and_leave_the_first_alone() -> None:
    source = CodeSource()
    assert isinstance(source.with_options({"slots": 1}), RewardSource)
    assert source.with_options({}) is not source


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schema": "stage"}, r"options\.code\.schema: there is no such option; .* takes scheme, syntax_error"),
        ({"scheme": "staged"}, r"options\.code\.scheme: .*'pass_fraction' or 'stage', got 'staged'"),
        ({"wrong": "0.3"}, r"options\.code\.wrong: .* got '0\.3'"),
        ({"wrong": True}, r"options\.code\.wrong: .* got True"),
        ({"wrong": 1.0}, "stages rise"),
        ({"syntax_error": 0.2, "runtime_error": 0.1}, "stages rise"),
        ({"runtime_error": float("nan")}, r"options\.code\.runtime_error"),
        ({"slots": 0}, r"options\.code\.slots: .* got 0"),
        ({"slots": 1.5}, r"options\.code\.slots: .* got 1\.5"),
        ({"accept_unguarded": "yes"}, r"options\.code\.accept_unguarded: .* got 'yes'"),
        ({1: 2}, r"options\.code\.1"),
    ],
)
def test_option_that_means_nothing_is_refused_by_its_key(options: dict[Any, Any], message: str) -> None:
    with pytest.raises(WrongUse, match=message):
        CodeSource().with_options(options)


@given(st.dictionaries(st.text() | st.sampled_from([*CodeOptions.model_fields]), st.none() | st.text() | st.floats()))
def test_any_mapping_gives_a_source_or_wrong_use(options: dict[str, Any]) -> None:
    with contextlib.suppress(WrongUse):
        assert isinstance(CodeSource().with_options(options), RewardSource)


HEAVY = ("torch", "verl", "ray", "pydantic", "numpy", "sympy")


def test_registering_loads_nothing_heavy() -> None:
    code = f"import sys, pangu_verl.mars.code.source\nprint([name for name in {HEAVY} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
