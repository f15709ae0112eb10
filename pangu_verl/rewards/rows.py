"""Reward rows from outside: JSON objects, checked key by key and read one line at a time.

Invariants: a file is never held in memory as a whole; what is wrong with a row is a ``WrongUse`` that names file, line
and key; null means absent. Texts may hold anything that JSON can spell, lone surrogates and NUL included. What tests
and checks say is left to the sources, which answer what they do not understand with a verdict.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from pangu_verl.errors import WrongUse, first_line
from pangu_verl.mars.answers import split_reasoning
from pangu_verl.mars.format_gate import MODES
from pangu_verl.rewards.files import check_is_file
from pangu_verl.rewards.wording import shown
from pangu_verl.types import RewardRow

#: Domains of the documented row format; a plugin's source may bring others.
DOMAINS = frozenset({"math", "code", "choice", "instruction", "general"})
#: The largest rows of LiveCodeBench, with all their tests, take under a tenth of this.
LONGEST_LINE_BYTES = 512 << 20


def _text(value: object) -> str:
    # Pydantic's own text refuses lone surrogates, which tokenizers do produce.
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")
    return value


def _identifier(value: object) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"expected text or a whole number, got {type(value).__name__}")
    return value


def _gold(value: object) -> str:
    """Data sets write a gold number as text or as a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected text or a number, got {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value}")
    return str(value)


def _mode(value: object) -> str:
    if not isinstance(value, str) or value not in MODES:
        raise ValueError(f"expected one of {', '.join(MODES)}, got {shown(repr(value))}")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {type(value).__name__}")
    return value


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {type(value).__name__}")
    return value


Text = Annotated[str, PlainValidator(_text)]
Objects = Annotated[list[Any], PlainValidator(_list)]


class GoldRow(BaseModel):
    """A reward row whose gold answer is looked at: ``response`` may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str | int, PlainValidator(_identifier)]
    domain: Text
    question: Text = ""
    response: Text = ""
    ground_truth: Annotated[str, PlainValidator(_gold)] | None = None
    tests: Objects = Field(default_factory=list)
    checks: Objects = Field(default_factory=list)
    mode: Annotated[str, PlainValidator(_mode)] | None = None
    extra: Annotated[dict[str, Any], PlainValidator(_object)] = Field(default_factory=dict)
    """What sources may want to know beside: ``cpu_seconds``, ``memory_mib``, ``response_tokens``."""

    def with_response(self, response: str) -> RewardRow:
        """The row that a source judges, with ``response`` for what the model wrote."""
        return RewardRow(
            id=str(self.id),
            domain=self.domain,
            question=self.question,
            response=response,
            answer=split_reasoning(response),
            ground_truth=self.ground_truth,
            tests=self.tests,
            checks=self.checks,
            mode=self.mode,
            extra=self.extra,
        )


class ResponseRow(GoldRow):
    """A reward row whose response is judged."""

    response: Text


Row = TypeVar("Row", bound=GoldRow)


def read_rows(path: Path, kind: type[Row], domains: Collection[str]) -> Iterator[Row]:
    """The rows of a JSONL file in order; blank lines are passed over. ``domains`` are those that a row may name."""
    for number, line in numbered_lines(path):
        where = f"{path} line {number}"
        yield parse_row(_json_of(line, where), kind, domains, where)


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, numbered from 1."""
    check_is_file(path)
    try:
        with path.open("rb") as stream:
            for number in count(1):
                line = stream.readline(LONGEST_LINE_BYTES)
                if len(line) >= LONGEST_LINE_BYTES:
                    raise WrongUse(
                        f"{path} line {number} is longer than {LONGEST_LINE_BYTES >> 20} MiB; write one row a line"
                    )
                if not line:
                    return
                if line.strip():
                    yield number, line
    except OSError as error:
        raise WrongUse(f"{path} cannot be read ({error.strerror}); check the file") from error


def parse_row(found: object, kind: type[Row], domains: Collection[str], where: str) -> Row:
    """One row; raises ``WrongUse`` that begins with ``where`` and names the key."""
    if not isinstance(found, dict):
        raise WrongUse(f"{where}: expected a JSON object, got {type(found).__name__}; write one row a line")
    try:
        row = kind.model_validate({key: value for key, value in found.items() if value is not None})
    except ValidationError as error:
        raise WrongUse(f"{where}: {_complaint(error.errors(include_url=False)[0], kind)}") from None
    if row.domain not in domains:
        raise WrongUse(
            f"{where}: unknown domain {shown(repr(row.domain))} (known: {', '.join(sorted(domains))}); correct it, or "
            "install the plugin whose reward source judges it"
        )
    return row


def _json_of(line: bytes, where: str) -> object:
    try:
        return json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise WrongUse(f"{where} is not JSON ({shown(first_line(error))}); write one JSON object a line") from None


def _complaint(mistake: ErrorDetails, kind: type[GoldRow]) -> str:
    """The first mistake of a row in words. Never the value itself, which has no bounds."""
    key = str(mistake["loc"][0]) if mistake["loc"] else ""
    if mistake["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key[:100], kind.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(kind.model_fields)}"
        return f"unknown key {shown(repr(key))} ({hint}); correct or remove it"
    if mistake["type"] == "missing":
        return f"lacks the key {key!r}, or has null for it; add it"
    if mistake["type"] == "value_error":
        return f"key {key!r}: {_context(mistake).get('error')}; correct it"
    return f"{f'key {key!r}: ' if key else ''}{mistake['msg']}; correct it"


def _context(mistake: ErrorDetails) -> Mapping[str, Any]:
    return mistake.get("ctx", {})
