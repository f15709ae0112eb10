"""The tests of a row, checked and typed.

Invariant: what cannot be understood is an error that names test, key and value, and the row is then not judged: a
misspelt list of tests never counts as passed or failed. Rows of LiveCodeBench and APPS are translated in
``foreign_rows.py``. Nothing is executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pangu_verl.mars.code.foreign_rows import RowError, translated, wanted_tests
from pangu_verl.mars.code.sandbox.limits import Limits
from pangu_verl.types import RewardRow

MOST_TESTS = 2_000
LIMIT_KEYS = ("cpu_seconds", "memory_mib")
MOST_CPU_SECONDS = 600.0
MOST_MEMORY_MIB = 65_536

#: What only our own translation of foreign rows may say.
_TRANSLATED_KEYS = ("alternatives",)
_KEYS = {"assert": ("code",), "call": ("entry_point", "args", "expected"), "stdin": ("input", "output")}


@dataclass(frozen=True, slots=True)
class AssertTest:
    """Test code that uses the program's top-level names."""

    code: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class CallTest:
    """A call with JSON arguments, by position (list) or keyword (mapping). Any of ``expected`` is right."""

    entry_point: str
    args: Sequence[Any] | Mapping[str, Any]
    expected: tuple[Any, ...]
    limits: Limits


@dataclass(frozen=True, slots=True)
class StdinTest:
    """A whole program's input and output."""

    input: str
    output: str
    limits: Limits


Test = AssertTest | CallTest | StdinTest


def parse_tests(row: RewardRow) -> list[Test]:
    """The row's tests, at least one. Raises ``RowError``."""
    row_limits = _limits(row.extra, Limits(), "extra")
    tests: list[Test] = []
    for position, test in enumerate(wanted_tests(row)):
        name = f"tests[{position}]"
        if not isinstance(test, Mapping):
            raise RowError(f"{name}: expected an object, got {type(test).__name__}")
        if "kind" in test:
            tests.append(_parsed(test, row_limits, name))
        else:
            tests += [_parsed(one, row_limits, name, _TRANSLATED_KEYS) for one in translated(test, row.extra, name)]
    if not tests:
        raise RowError("the row has no tests; give it `tests`")
    if len(tests) > MOST_TESTS:
        raise RowError(f"the row has {len(tests)} tests; at most {MOST_TESTS} are run")
    return tests


def _parsed(test: Mapping[str, Any], row_limits: Limits, name: str, further: Sequence[str] = ()) -> Test:
    kind = test["kind"]
    if not isinstance(kind, str) or kind not in _KEYS:
        raise RowError(f"{name}.kind: expected assert, call or stdin, got {kind!r:.80}")
    wanted = {"kind", *_KEYS[kind]}
    missing, unknown = wanted - test.keys(), test.keys() - wanted - {*LIMIT_KEYS, *further}
    if missing or unknown:
        what = f"lacks {sorted(missing)}" if missing else f"has unknown keys {sorted(map(str, unknown))}"
        raise RowError(f"{name}: a test of kind {kind} {what}; it takes {sorted(wanted)}")
    limits = _limits(test, row_limits, name)
    if kind == "assert":
        return AssertTest(_text(test, "code", name), limits)
    if kind == "stdin":
        return StdinTest(_text(test, "input", name), _text(test, "output", name), limits)
    return _call_test(test, limits, name)


def _call_test(test: Mapping[str, Any], limits: Limits, name: str) -> CallTest:
    entry_point = _text(test, "entry_point", name)
    if not all(part.isidentifier() for part in entry_point.split(".")):
        raise RowError(f"{name}.entry_point: expected a name, dotted or not, got {entry_point!r:.80}")
    if not isinstance(test["args"], list | tuple | Mapping):
        raise RowError(f"{name}.args: expected a list or an object, got {type(test['args']).__name__}")
    try:
        json.dumps([test["args"], test["expected"]])
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError(f"{name}: args and expected have to be JSON data: {error}") from None
    return CallTest(entry_point, test["args"], (test["expected"], *test.get("alternatives", ())), limits)


def _text(test: Mapping[str, Any], key: str, name: str) -> str:
    if not isinstance(test[key], str):
        raise RowError(f"{name}.{key}: expected text, got {type(test[key]).__name__}")
    if key in ("code", "entry_point") and not test[key].strip():
        raise RowError(f"{name}.{key}: expected text, got none")
    found: str = test[key]
    return found


def _limits(source: Mapping[str, Any], default: Limits, name: str) -> Limits:
    seconds = _bounded(source, "cpu_seconds", default.cpu_seconds, MOST_CPU_SECONDS, name)
    memory_mib = _bounded(source, "memory_mib", default.memory_mib, MOST_MEMORY_MIB, name)
    return Limits(cpu_seconds=float(seconds), memory_mib=int(memory_mib))


def _bounded(source: Mapping[str, Any], key: str, default: float, most: float, name: str) -> float:
    value = source.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise RowError(f"{name}.{key}: expected a number in (0, {most:g}], got {value!r:.80}")
    return value
