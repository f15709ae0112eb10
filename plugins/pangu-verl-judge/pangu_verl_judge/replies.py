"""Reading what the judge replied.

Invariant: a reply counts only where the whole of it, after reasoning and one code fence are taken off, is the JSON
object that was asked for. Nothing is fished out of prose: a JSON object quoted there may be the response's own.
"""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pangu_verl.mars.answers import split_reasoning

SHOWN_CHARACTERS = 80
_FENCED = re.compile(r"```(?:json)?\s*\n(?P<body>.*)\n\s*```", re.DOTALL | re.IGNORECASE)


class UnusableReply(Exception):
    """The judge replied, and its reply is no judgement. The message fits a verdict's reason."""


class Reply(BaseModel):
    """Unknown keys are ignored in reading and forbidden in the schema, which servers want so."""

    model_config = ConfigDict(
        strict=True, frozen=True, allow_inf_nan=False, json_schema_extra={"additionalProperties": False}
    )

    reason: str


class PointwiseReply(Reply):
    score: float


class PairwiseReply(Reply):
    preferred: Literal["first", "second", "tie"]


class AgreementReply(Reply):
    agrees: bool


ReplyKind = TypeVar("ReplyKind", PointwiseReply, PairwiseReply, AgreementReply)


def response_format(kind: type[Reply]) -> dict[str, Any]:
    """The request's field that makes a server hold the model to the form, where it can."""
    schema = {"name": kind.__name__, "strict": True, "schema": kind.model_json_schema()}
    return {"type": "json_schema", "json_schema": schema}


def read_reply(text: str, kind: type[ReplyKind]) -> ReplyKind:
    """Raises ``UnusableReply`` with what came instead."""
    body = split_reasoning(text)
    if (fenced := _FENCED.fullmatch(body)) is not None:
        body = fenced["body"]
    if not body.strip():
        raise UnusableReply("the judge replied nothing")
    try:
        return kind.model_validate_json(body.encode("utf-8", "replace"))
    except ValidationError as error:
        mistake = error.errors(include_url=False, include_context=False)[0]
    if mistake["type"] == "json_invalid":
        raise UnusableReply(f"the judge replied no JSON object but {shown(body)}")
    field = ".".join(str(part) for part in mistake["loc"]) or "the object"
    raise UnusableReply(f"the judge's JSON does not fit: {field}: {mistake['msg']}")


def shown(text: str) -> str:
    """A piece of foreign text, on one line and printable."""
    return ascii(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "...")
