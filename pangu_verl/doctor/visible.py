"""The variables that hide cards from a process, for NVIDIA's cards and for NPUs alike."""

from __future__ import annotations

import os
from typing import Literal

from pangu_verl.doctor.findings import Finding

Variable = Literal["CUDA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES"]

#: What the names of cards begin with where the variable takes names as well as numbers.
_NAMES: dict[Variable, tuple[str, ...]] = {"CUDA_VISIBLE_DEVICES": ("GPU-", "MIG-"), "ASCEND_RT_VISIBLE_DEVICES": ()}


def examine(variable: Variable) -> Finding:
    """Whether ``variable`` lists different cards, and such as verl finds again in its workers."""
    given = os.environ.get(variable)
    if given is None:
        return Finding(name=variable, status="ok", found="not set: all cards")
    cards = [card.strip() for card in given.split(",")]
    sound = all(card.isdecimal() or card.startswith(_NAMES[variable]) for card in cards)
    if not sound or len(set(cards)) < len(cards):
        return Finding(
            name=variable,
            status="problem",
            found=f"{given!r} hides every card" if given in ("", "-1") else f"{given!r} is no list of different cards",
            advice=f"unset it, or list the cards to use: {variable}=0,1",
        )
    # As verl asks: any text counts, "0" too.
    if os.environ.get(f"RAY_EXPERIMENTAL_NOSET_{variable}") and cards != [str(place) for place in range(len(cards))]:
        return Finding(
            name=variable,
            status="problem",
            found=f"{given} with RAY_EXPERIMENTAL_NOSET_{variable}: verl takes Ray's number of a card for its place in "
            "this list, and the worker ends with an invalid device",
            advice=f"unset RAY_EXPERIMENTAL_NOSET_{variable}, or use the cards from 0 on",
            source="https://github.com/verl-project/verl/pull/7507",
        )
    return Finding(name=variable, status="ok", found=given)
