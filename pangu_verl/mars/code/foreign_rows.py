"""Tests as LiveCodeBench and APPS write them, translated into tests of our three kinds.

Invariant: LiveCodeBench packs hidden tests as compressed pickles. No pickle is ever loaded: its instructions are read
one by one, and one that holds anything but a single text (names a global, hence could run anything, or fills a memo,
hence could take all memory) is refused, as is one that unpacks to more than a bound.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from pangu_verl.types import RewardRow

MOST_UNPACKED_BYTES = 512 << 20
_HIDDEN, _PUBLIC = "private_test_cases", "public_test_cases"
_TEXT_INSTRUCTIONS = frozenset({"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"})
#: What stands around a text: the version, the length of a frame, the number under which it could be had again.
_IDLE_INSTRUCTIONS = frozenset({"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "STOP"})


class RowError(ValueError):
    """A row whose tests cannot be understood. The message names test, key and value."""


def wanted_tests(row: RewardRow) -> Sequence[Any]:
    """``tests``, or else the tests that data sets keep as JSON in the ground truth. Raises ``RowError``."""
    if not isinstance(row.tests, list | tuple):
        raise RowError(f"tests: expected a list of objects, got {type(row.tests).__name__}")
    if row.tests or row.ground_truth is None:
        return row.tests
    found = _json(row.ground_truth, "ground_truth")
    return found if isinstance(found, list) else [found]


def translated(test: Mapping[str, Any], extra: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """One entry of a foreign list of tests, as one or many of ours. Raises ``RowError``."""
    if _HIDDEN in test or _PUBLIC in test:
        return _live_code_bench(test, extra, name)
    if "inputs" in test or "outputs" in test:
        return _apps(test, name)
    if "input" in test and "output" in test:
        return [_single(test, _function_name(extra, name), name)]
    if set(test) == {"functional"}:
        return [{"kind": "assert", "code": test["functional"]}]
    raise RowError(f"{name}: expected a `kind` (assert, call or stdin), got the keys {sorted(map(str, test))}")


def read_pickled_text(data: bytes) -> str:
    """The text in a pickle that holds text and nothing else. Raises ``RowError``."""
    texts: list[str] = []
    try:
        for instruction, argument, _ in pickletools.genops(data):
            if instruction.name in _TEXT_INSTRUCTIONS:
                texts.append(str(argument))
            elif instruction.name not in _IDLE_INSTRUCTIONS:
                what = f"{instruction.name} {argument!r:.80}" if argument is not None else instruction.name
                raise RowError(f"a pickle with the instruction {what}; nothing but text is read from pickles")
    except RowError:
        raise
    except Exception as error:  # noqa: BLE001 - reading a broken pickle may raise anything
        raise RowError(f"a pickle that cannot be read: {type(error).__name__}") from None
    if len(texts) != 1:
        raise RowError(f"a pickle with {len(texts)} texts, expected one")
    return texts[0]


def _live_code_bench(test: Mapping[str, Any], extra: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    function = _function_name({**extra, **test}, name)
    found: list[Mapping[str, Any]] = []
    for key in (_PUBLIC, _HIDDEN):
        cases = test.get(key) or []
        if isinstance(cases, str):
            cases = _json(_unpacked(cases, f"{name}.{key}"), f"{name}.{key}")
        if not isinstance(cases, list) or not all(isinstance(case, Mapping) for case in cases):
            raise RowError(f"{name}.{key}: expected a list of objects")
        found += [_single(case, function, f"{name}.{key}[{index}]") for index, case in enumerate(cases)]
    return found


def _unpacked(text: str, name: str) -> str:
    """Plain JSON as it is; base64 of a compressed pickle of JSON unpacked."""
    if text.lstrip()[:1] in ("[", "{"):
        return text
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text, validate=True), MOST_UNPACKED_BYTES)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise RowError(f"{name}: neither JSON nor a packed list of tests: {error}") from None
    if unpacker.unconsumed_tail:
        raise RowError(f"{name}: unpacks to more than {MOST_UNPACKED_BYTES >> 20} MiB")
    try:
        return read_pickled_text(data)
    except RowError as error:
        raise RowError(f"{name}: {error}") from None


def _single(case: Mapping[str, Any], function: str | None, name: str) -> Mapping[str, Any]:
    if "input" not in case or "output" not in case:
        raise RowError(f"{name}: expected `input` and `output`, got the keys {sorted(map(str, case))}")
    kind = case.get("testtype") or ("functional" if function else "stdin")
    if kind == "stdin":
        return {"kind": "stdin", "input": _lines(case["input"], name), "output": _lines(case["output"], name)}
    if kind != "functional" or function is None:
        raise RowError(f"{name}: expected testtype stdin, or functional with a `func_name`, got {kind!r:.80}")
    arguments = [_json(line, name) for line in _lines(case["input"], name).split("\n") if line.strip()]
    return {"kind": "call", "entry_point": function, "args": arguments, "expected": _json(case["output"], name)}


def _apps(test: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    inputs, outputs, function = test.get("inputs"), test.get("outputs"), test.get("fn_name")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise RowError(f"{name}: expected `inputs` and `outputs` as lists of the same length")
    if function is None:
        return [
            {"kind": "stdin", "input": _lines(given, name), "output": _lines(wanted, name)}
            for given, wanted in zip(inputs, outputs, strict=True)
        ]
    return [_apps_call(function, given, wanted, name) for given, wanted in zip(inputs, outputs, strict=True)]


def _apps_call(function: str, given: Any, wanted: Any, name: str) -> Mapping[str, Any]:
    """APPS often, and not always, wraps a result in a list of one."""
    arguments = [_json(line, name) for line in given.split("\n")] if isinstance(given, str) else given
    unwrapped = wanted if isinstance(wanted, list) and len(wanted) == 1 else []
    call = {"kind": "call", "entry_point": function, "args": arguments, "expected": wanted}
    return call | {"alternatives": unwrapped}


def _function_name(source: Mapping[str, Any], name: str) -> str | None:
    """LiveCodeBench keeps it in ``metadata``, itself JSON text."""
    metadata = source.get("metadata")
    if isinstance(metadata, str) and metadata.strip():
        metadata = _json(metadata, f"{name}: metadata")
    found = metadata.get("func_name") if isinstance(metadata, Mapping) else None
    return found or source.get("func_name") or source.get("fn_name")


def _lines(value: Any, name: str) -> str:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if not isinstance(value, str):
        raise RowError(f"{name}: expected text or a list of lines, got {type(value).__name__}")
    return value


def _json(text: Any, name: str) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RowError(f"{name}: expected JSON, got {text[:60]!r}") from None
