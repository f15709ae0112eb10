"""Records from outside, checked field by field: what is wrong is a ``WrongUse`` that says where and which field.

Invariant: the message never holds a value of unbounded size. Null and the empty cell mean absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pangu_verl.errors import WrongUse

_SHOWN_CHARACTERS = 80

Record = TypeVar("Record", bound=BaseModel)


def checked(kind: type[Record], found: object, where: str) -> Record:
    """``found`` as a ``kind``; raises ``WrongUse`` that begins with ``where``."""
    if not isinstance(found, Mapping):
        raise WrongUse(f"{where}: expected an object, got {type(found).__name__}; correct it")
    try:
        return kind.model_validate({key: value for key, value in found.items() if value is not None and value != ""})
    except ValidationError as error:
        raise WrongUse(f"{where}: {_complaint(error, kind)}") from None


def _complaint(error: ValidationError, kind: type[BaseModel]) -> str:
    mistake = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in mistake["loc"])
    known = ", ".join(kind.model_fields)
    if mistake["type"] == "extra_forbidden":
        return f"unknown field {_shown(field)} (known: {known}); correct or remove it"
    if mistake["type"] == "missing":
        return f"lacks the field {field!r}; add it"
    if mistake["type"] == "value_error":
        return f"{f'field {field!r}: ' if mistake['loc'] else ''}{mistake['ctx']['error']}; correct it"
    return f"field {field!r}: {mistake['msg']}, got {_shown(mistake['input'])}; correct it"


def _shown(value: Any) -> str:
    return ascii(value)[:_SHOWN_CHARACTERS]
