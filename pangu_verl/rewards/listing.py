"""``pangu-verl rewards list``: the reward sources and auxiliary terms that the plugins of this machine register."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from pangu_verl.plugins import load_plugins
from pangu_verl.rewards.wording import table

_NONE = "-"


def list_rewards() -> dict[str, Any]:
    """Sources and terms in the order of registration; raises ``WrongUse`` for a plugin that failed."""
    plugins = load_plugins()
    plugins.require()
    sources = [
        {
            "name": name,
            "domains": sorted(source.domains),
            "plugin": plugins.owner("register_reward_sources", name),
            "about": _about(type(source)),
            "options": _about(getattr(source, "with_options", None)),
        }
        for name, source in plugins.reward_sources.items()
    ]
    terms = [
        {"name": name, "plugin": plugins.owner("register_auxiliary_terms", name), "about": _about(type(term))}
        for name, term in plugins.auxiliary_terms.items()
    ]
    return {"sources": sources, "auxiliary_terms": terms}


def listing_text(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The same as two tables."""
    sources = [
        (each["name"], ", ".join(each["domains"]), each["plugin"], each["options"] or _NONE)
        for each in found["sources"]
    ]
    terms = [(each["name"], each["plugin"], each["about"] or _NONE) for each in found["auxiliary_terms"]]
    return "\n\n".join(
        [
            table(("source", "domains", "plugin", "options (pangu.rewards.options.<source>)"), sources),
            table(("auxiliary term", "plugin", "what it does"), terms),
        ]
    )


def _about(thing: object) -> str | None:
    """The first paragraph of its docstring; None where there is none."""
    paragraph = (inspect.getdoc(thing) or "").partition("\n\n")[0] if thing is not None else ""
    return " ".join(paragraph.replace("``", "").split()) or None
