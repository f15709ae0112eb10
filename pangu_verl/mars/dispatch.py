"""Which source judges which rows.

Invariant: a domain that two sources claim is never given to one of them by accident: the configuration chooses, or the
run does not start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pangu_verl.errors import WrongUse
from pangu_verl.types import RewardSource

KEY = "pangu.rewards.sources"


def source_by_domain(sources: Mapping[str, RewardSource], chosen: Sequence[str] | None) -> dict[str, RewardSource]:
    """The source for each domain: of ``chosen`` names the first that takes it; of all, where nothing was chosen."""
    names = list(sources) if chosen is None else _known(chosen, sources)
    found: dict[str, RewardSource] = {}
    for name in names:
        for domain in sorted(sources[name].domains):
            if chosen is None and domain in found:
                raise WrongUse(
                    f"rows of ability {domain!r} are claimed by the reward sources {found[domain].name!r} and {name!r};"
                    f" choose with {KEY}=[{name}] (the first that takes an ability judges it)"
                )
            found.setdefault(domain, sources[name])
    return found


def _known(chosen: Sequence[str], sources: Mapping[str, RewardSource]) -> list[str]:
    if isinstance(chosen, str) or not all(isinstance(name, str) for name in chosen):
        raise WrongUse(f"{KEY} takes a list of names, got {chosen!r}; write {KEY}=[name]")
    for name in chosen:
        if name not in sources:
            known = ", ".join(sources) or "none"
            raise WrongUse(f"{KEY}: there is no reward source {name!r} (registered: {known}); see pangu-verl plugins")
    return list(chosen)
