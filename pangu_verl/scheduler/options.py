"""Gives a policy or controller other values for its fields, by name, as a configuration file does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from pangu_verl.errors import WrongUse

Configurable = TypeVar("Configurable", bound=Any)


def configured(candidate: Configurable, options: Mapping[str, Any]) -> Configurable:
    """``candidate``, a dataclass with a ``name``, with numbers replaced; ``WrongUse`` for what it does not take."""
    # A type is its name where the candidate's module postpones annotations, and itself elsewhere.
    types = {field.name: getattr(field.type, "__name__", field.type) for field in fields(candidate) if field.init}
    known = {name: kind for name, kind in types.items() if kind in ("int", "float")}
    for name, value in options.items():
        if name not in known:
            raise WrongUse(f"{candidate.name!r} has no option {name!r} (known: {', '.join(known) or 'none'})")
        is_number = isinstance(value, int if known[name] == "int" else int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise WrongUse(f"option {name!r} of {candidate.name!r} is a finite number ({known[name]}), not {value!r}")
    return replace(candidate, **options)
