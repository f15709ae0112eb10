"""Which reward sources judge which rows.

Invariant: a domain that two sources claim is never given to one of them by accident: the configuration puts them in
order, or the run does not start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pangu_verl.errors import WrongUse
from pangu_verl.mars.ladder import Ladder, LadderOptions
from pangu_verl.types import RewardSource

KEY = "pangu.rewards.sources"
OPTIONS_KEY = "pangu.rewards.options"


def ladders(
    sources: Mapping[str, RewardSource], chosen: Sequence[str] | None, options: LadderOptions | None = None
) -> dict[str, Ladder]:
    """The ladder of each domain: the ``chosen`` sources that take it, in their order; any source without a choice."""
    names = list(sources) if chosen is None else _known(chosen, sources)
    rungs: dict[str, list[RewardSource]] = {}
    for name in names:
        for domain in sorted(sources[name].domains):
            rungs.setdefault(domain, []).append(sources[name])
            if chosen is None and len(rungs[domain]) > 1:
                first = rungs[domain][0].name
                raise WrongUse(
                    f"rows of ability {domain!r} are claimed by the reward sources {first!r} and {name!r}; choose with "
                    f"{KEY}=[{name}], or put them in order with {KEY}=[{first},{name}] (the first judges, the next is "
                    "asked where it could not)"
                )
    return {domain: Ladder(domain, found, options) for domain, found in rungs.items()}


def with_options(sources: Mapping[str, RewardSource], options: Mapping[str, Any] | None) -> dict[str, RewardSource]:
    """The sources, those with an entry in ``options`` made anew with it by their own method ``with_options``."""
    found = dict(sources)
    for name, given in (options or {}).items():
        if name not in found:
            raise WrongUse(
                f"{OPTIONS_KEY}: there is no reward source {name!r} (registered: {', '.join(found) or 'none'})"
            )
        if not isinstance(given, Mapping):
            raise WrongUse(f"{OPTIONS_KEY}.{name} takes option=value pairs, got {given!r}")
        make = getattr(found[name], "with_options", None)
        if make is None:
            raise WrongUse(f"{OPTIONS_KEY}.{name}: this reward source takes no options; leave the key out")
        found[name] = make(given)
    return found


def _known(chosen: Sequence[str], sources: Mapping[str, RewardSource]) -> list[str]:
    if isinstance(chosen, str) or not all(isinstance(name, str) for name in chosen):
        raise WrongUse(f"{KEY} takes a list of names, got {chosen!r}; write {KEY}=[name]")
    for name in chosen:
        if name not in sources:
            known = ", ".join(sources) or "none"
            raise WrongUse(f"{KEY}: there is no reward source {name!r} (registered: {known}); see pangu-verl plugins")
    if len(set(chosen)) < len(chosen):
        raise WrongUse(f"{KEY} names a source twice: {', '.join(chosen)}; name each once")
    return list(chosen)
