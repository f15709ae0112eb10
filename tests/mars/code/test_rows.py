"""Reading the tests of a row, also those of LiveCodeBench and APPS."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.mars.code.foreign_rows import RowError, read_pickled_text
from pangu_verl.mars.code.rows import AssertTest, CallTest, StdinTest, Test, parse_tests
from pangu_verl.mars.code.sandbox.limits import Limits
from pangu_verl.types import RewardRow

CALL = {"kind": "call", "entry_point": "f", "args": [1], "expected": 2}


def parsed(tests: Any, ground_truth: str | None = None, **extra: Any) -> list[Test]:
    row = RewardRow(
        id="1", domain="code", question="", response="", answer="", tests=tests, ground_truth=ground_truth, extra=extra
    )
    return parse_tests(row)


def packed(data: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(data))).decode()


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


def test_three_kinds_are_read() -> None:
    tests = parsed([{"kind": "assert", "code": "assert f"}, CALL, {"kind": "stdin", "input": "1", "output": "2"}])
    assert tests == [
        AssertTest("assert f", Limits()),
        CallTest("f", [1], (2,), Limits()),
        StdinTest("1", "2", Limits()),
    ]


def test_limits_come_from_the_test_then_the_row_then_the_default() -> None:
    tests = parsed([CALL | {"cpu_seconds": 2, "memory_mib": None}, CALL], cpu_seconds=3, memory_mib=512)
    assert [test.limits for test in tests] == [
        Limits(cpu_seconds=2, memory_mib=512),
        Limits(cpu_seconds=3, memory_mib=512),
    ]


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ([], "has no tests"),
        (1, "tests: expected a list of objects, got int"),
        ("assert f(1)", "tests: expected a list of objects, got str"),
        ({"kind": "call"}, "tests: expected a list of objects, got dict"),
        ([CALL | {"alternatives": [3]}], r"unknown keys \['alternatives'\]"),
        ([1], r"tests\[0\]: expected an object, got int"),
        ([{"kind": "asert", "code": "x"}], r"tests\[0\]\.kind: expected assert, call or stdin, got 'asert'"),
        ([{"kind": ["call"]}], r"tests\[0\]\.kind"),
        ([{"knd": "assert"}], r"expected a `kind`.*'knd'"),
        ([{"kind": "assert"}], r"lacks \['code'\]"),
        ([CALL | {"expcted": 3}], r"unknown keys \['expcted'\]"),
        ([CALL | {"entry_point": "f(1)"}], "expected a name"),
        ([CALL | {"args": 5}], "expected a list or an object, got int"),
        ([CALL | {"args": [{1}]}], "have to be JSON data"),
        ([CALL | {"expected": 10**5000}], "have to be JSON data"),
        ([{"kind": "stdin", "input": 3, "output": "4"}], r"tests\[0\]\.input: expected text, got int"),
        ([{"kind": "assert", "code": " "}], r"expected text, got none"),
        ([CALL | {"cpu_seconds": 0}], "cpu_seconds: expected a number in"),
        ([CALL | {"memory_mib": "1 GiB"}], "memory_mib: expected a number in"),
        ([CALL] * 2001, "at most 2000"),
        ([{"inputs": ["1"], "outputs": []}], "the same length"),
        ([{"input": "1", "output": "2", "testtype": "functional"}], "functional with a `func_name`"),
        ([{"private_test_cases": "not base64!"}], "neither JSON nor a packed list"),
        ([{"private_test_cases": packed(Runs())}], "pickle with the instruction STACK_GLOBAL"),
        ([{"private_test_cases": packed([1])}], "pickle with the instruction EMPTY_LIST"),
        ([{"private_test_cases": packed("[1]")}], "expected a list of objects"),
    ],
)
def test_what_cannot_be_understood_is_named(tests: Any, message: str) -> None:
    with pytest.raises(RowError, match=message):
        parsed(tests)


def test_live_code_bench_stdin_row() -> None:
    cases = [{"input": "1\n", "output": "2\n", "testtype": "stdin"}]
    tests = parsed([{"public_test_cases": json.dumps(cases), "private_test_cases": packed(json.dumps(cases))}])
    assert tests == [StdinTest("1\n", "2\n", Limits())] * 2


def test_live_code_bench_functional_row() -> None:
    case = {"input": '[1, 2]\n"a"', "output": "[3]", "testtype": "functional"}
    expected = [CallTest("add", [[1, 2], "a"], ([3],), Limits())]
    assert parsed([case], metadata=json.dumps({"func_name": "add"})) == expected
    assert parsed([{"private_test_cases": packed(json.dumps([case])), "metadata": {"func_name": "add"}}]) == expected


def test_apps_stdin_row_whether_text_or_lines() -> None:
    assert parsed([{"inputs": ["1 2", ["3", "4"]], "outputs": ["3", ["7"]]}]) == [
        StdinTest("1 2", "3", Limits()),
        StdinTest("3\n4", "7", Limits()),
    ]


def test_apps_call_row_takes_a_result_that_is_wrapped_or_not() -> None:
    (test,) = parsed([{"fn_name": "f", "inputs": [[1, 2]], "outputs": [[3]]}])
    assert test == CallTest("f", [1, 2], ([3], 3), Limits())


def test_tests_may_stand_in_the_ground_truth_as_json() -> None:
    assert parsed((), json.dumps({"inputs": ["1"], "outputs": ["2"]})) == [StdinTest("1", "2", Limits())]


def test_ground_truth_that_is_no_json_is_named() -> None:
    with pytest.raises(RowError, match="ground_truth: expected JSON"):
        parsed((), "42 is the answer")


class Builds:
    """Its pickle makes an object without calling anything by name."""


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@given(text=st.text())
def test_pickled_text_is_read_in_every_protocol(protocol: int, text: str) -> None:
    assert read_pickled_text(pickle.dumps(text, protocol)) == text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [Runs(), os.system, Builds(), Builds, {"a": 1}, 1, b"[]", ["[]"], None, ("a", "b")])
def test_pickle_of_anything_but_text_is_refused(value: Any, protocol: int) -> None:
    with pytest.raises(RowError, match="a pickle with"):
        read_pickled_text(pickle.dumps(value, protocol))


REFUSED_PICKLES = {
    "global": b"cos\nsystem\n.",
    "global from the stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "instance": b"(S'true'\nios\nsystem\n.",
    "object": b"(cos\nsystem\nX\x04\x00\x00\x00trueo.",
    "new object": b"\x80\x02cos\nsystem\n)\x81.",
    "registered extension": b"\x80\x02\x82\x01.",
    "persistent reference": b"Pid\n.",
    "buffer outside": b"\x80\x05\x97.",
    "state": b"X\x01\x00\x00\x00a}b.",
    "memo that takes all memory": b"X\x01\x00\x00\x00ar\xff\xff\xff\x7f.",
}


@pytest.mark.parametrize("data", REFUSED_PICKLES.values(), ids=REFUSED_PICKLES)
def test_instruction_that_could_do_anything_is_refused(data: bytes) -> None:
    with pytest.raises(RowError, match="a pickle with the instruction"):
        read_pickled_text(data)


@pytest.mark.parametrize("data", [b"", b".", b"\x80\x05garbage", b"X\xff\xff\xff\x7fshort.", b"X\x01\x00\x00\x00a"])
def test_broken_pickle_is_refused(data: bytes) -> None:
    with pytest.raises(RowError, match="a pickle"):
        read_pickled_text(data)


def test_pickle_in_a_live_code_bench_row_is_named_with_its_key() -> None:
    hidden = base64.b64encode(zlib.compress(pickle.dumps(Runs()))).decode()
    with pytest.raises(RowError, match=r"tests\[0\]\.private_test_cases: a pickle with the instruction"):
        parsed([{"public_test_cases": [], "private_test_cases": hidden}])


# --- any row ---------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    "kind code entry_point args expected input output inputs outputs fn_name func_name testtype metadata alternatives "
    "functional public_test_cases private_test_cases cpu_seconds memory_mib".split()
)
SCALARS = (
    st.none()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["assert", "call", "stdin", "functional", "f", "[1]", '{"func_name": "f"}'])
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=12
)


@given(ANYTHING, st.none() | st.text(max_size=20), st.dictionaries(KEYS, ANYTHING, max_size=3))
def test_any_row_gives_tests_or_an_error_of_the_row(tests: Any, truth: str | None, extra: dict[str, Any]) -> None:
    with contextlib.suppress(RowError):
        assert parsed(tests, truth, **extra)
