"""What ``pangu-verl train --list-configs`` and ``--explain KEY`` say.

Invariant: meaning, unit and type are quoted from comments, names and annotations; what these do not say stays open
and is never guessed. Nothing is started and no value is checked beyond what composing checks.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from omegaconf import OmegaConf

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl import config_sources
from pangu_verl.integrations.verl.configuration import (
    BACKENDS,
    CONFIG_PACKAGE,
    CONFIGURATIONS,
    compose,
    explain_legacy_key,
    explain_unknown_key,
)
from pangu_verl.integrations.verl.scheduling.loss.corrections import CORRECTION, preset_keys

MANDATORY = "???"
_TEXT_WIDTH = 100
_SUFFIX = re.compile(
    r"(?:_(ms|s|seconds|tokens|token_len|bytes|mb|megabytes|mib|gb|gib|steps|epochs)(?:_per_[a-z]+)?|(timeout))$"
)
_PHRASE = re.compile(
    r"\b[Ii]n (milliseconds|seconds|minutes|tokens|bytes|megabytes|MB|MiB|GB|GiB|steps)\b|[Nn]umber of (tokens)\b"
)
#: Ends of names and words of comments that are not units themselves. verl's timeouts are all seconds.
_UNITS = {
    "ms": "milliseconds",
    "s": "seconds",
    "timeout": "seconds",
    "token_len": "tokens",
    "mb": "MB",
    "megabytes": "MB",
    "mib": "MiB",
    "gb": "GB",
    "gib": "GiB",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigurationEntry:
    """A name that may be chosen, and what the first line of its file says of it."""

    kind: Literal["configuration", "backend"]
    name: str
    meaning: str
    file: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """A key of a composed configuration.

    ``default`` is its value, ``MANDATORY`` if there is none, null for a section; ``expression`` the interpolation that
    gave the value. ``set_by`` is the ``file:line`` or the override that decides, ``also_in`` the places before it in
    merge order. ``keys`` are the keys of a section. In ``read_by`` a dataclass is certain and a mention is a guess of
    a text search. ``unit``, ``type`` and ``set_by`` are null where nothing says them.
    """

    key: str
    meaning: str
    default: Any
    expression: str | None
    type: str | None
    unit: str | None
    set_by: str | None
    also_in: tuple[str, ...]
    keys: tuple[str, ...]
    read_by: tuple[str, ...]

    def lines(self) -> list[str]:
        """The explanation for a terminal."""
        rows = [("meaning", self.meaning or "not documented where it is set")]
        if self.type == "section":
            rows.append(("keys", textwrap.fill(", ".join(self.keys) or "none", _TEXT_WIDTH, break_on_hyphens=False)))
            rows.append(("copy of", self.expression or ""))
        else:
            rows.append(("default", self._default_text()))
        rows.append(("type", self.type or "not stated"))
        if self.unit is not None:
            rows.append(("unit", self.unit))
        rows.append(("set by", self.set_by or "no file: added while composing"))
        rows.append(("also in", "\n".join(self.also_in)))
        rows.append(("read by", "\n".join(self.read_by) or "nothing found"))
        return [self.key, *_aligned(rows)]

    def _default_text(self) -> str:
        if self.default == MANDATORY:
            return f"{MANDATORY} (has to be given)"
        value = json.dumps(self.default, ensure_ascii=False, default=str)
        return f"{value} (from {self.expression})" if self.expression else value


def list_configurations() -> list[ConfigurationEntry]:
    """Our configurations, then the backends that each of them may run on."""
    return [
        *(_entry("configuration", name, f"{name}.yaml") for name in CONFIGURATIONS),
        *(_entry("backend", name, f"backend/{name}.yaml") for name in BACKENDS),
    ]


def explain(key: str, config_name: str = "ppo", overrides: Sequence[str] = ()) -> Explanation:
    """What ``key`` of configuration ``config_name`` with Hydra ``overrides`` means.

    Raises ``WrongUse`` for a key that is unknown or that verl no longer reads. Sets the backend's environment, as
    every composition does.
    """
    return ExplainedConfiguration(config_name, overrides).explain(key)


class ExplainedConfiguration:
    """One composed configuration with the files it was made of; raises ``WrongUse`` for what cannot be composed."""

    def __init__(self, config_name: str, overrides: Sequence[str] = ()) -> None:
        self._config = compose(config_name, overrides)
        self._tree: Any = OmegaConf.to_container(self._config)
        preset = f"{CORRECTION}={OmegaConf.select(self._config, CORRECTION)}"
        self._sources = [
            *config_sources.merged_sources(config_name.removesuffix(".yaml"), overrides),
            config_sources.Preset(preset, preset_keys(self._config)),
        ]

    def known_keys(self) -> Iterator[str]:
        """Every key, sections included."""
        yield from _keys(self._tree, "")

    def explain(self, key: str) -> Explanation:
        """What ``key`` means; raises ``WrongUse`` if it is unknown or legacy."""
        value, section = self._find(key)
        settings = [setting for source in self._sources if (setting := source.setting(key)) is not None]
        comments = [setting.comment for setting in settings if setting.comment]
        places = [setting.place for setting in settings]
        meaning = comments[-1] if comments else ""
        target = (value if isinstance(value, dict) else section).get("_target_")
        name = key.rpartition(".")[2]
        declaration = config_sources.declared(target, name) if target and not isinstance(value, dict) else None
        return Explanation(
            key=key,
            meaning=meaning,
            default=None if isinstance(value, dict) else value,
            expression=settings[-1].expression if settings else None,
            type=_type(value, declaration),
            unit=_unit(name, meaning, value),
            set_by=places[-1] if places else None,
            also_in=tuple(places[:-1]),
            keys=tuple(map(str, value)) if isinstance(value, dict) else (),
            read_by=(*_dataclass(target, declaration), *(f"mentioned in {at}" for at in config_sources.mentions(key))),
        )

    def _find(self, key: str) -> tuple[Any, dict[Any, Any]]:
        """The value of ``key`` and the section that holds it."""
        if (complaint := explain_legacy_key(key)) is not None:
            raise WrongUse(complaint)
        if key == "backend":
            raise WrongUse(f"'backend' is a choice of files, no key; write backend=NAME, one of {', '.join(BACKENDS)}")
        section: dict[Any, Any] = {}
        node = self._tree
        for name in key.split("."):
            if not isinstance(node, dict) or name not in node:
                raise WrongUse(explain_unknown_key(key, self._config))
            section, node = node, node[name]
        return node, section


def _entry(kind: Literal["configuration", "backend"], name: str, path: str) -> ConfigurationEntry:
    text = (files(CONFIG_PACKAGE) / path).read_text(encoding="utf-8")
    comments = (line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    meaning = next((comment for comment in comments if not comment.startswith("@package")), "")
    return ConfigurationEntry(kind=kind, name=name, meaning=meaning, file=f"{CONFIG_PACKAGE.replace('.', '/')}/{path}")


def _keys(node: Any, prefix: str) -> Iterator[str]:
    for name, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{name}"
        yield from _keys(value, f"{prefix}{name}.")


def _type(value: Any, declaration: config_sources.Declaration | None) -> str | None:
    if isinstance(value, dict):
        return "section"
    if declaration is not None:
        return declaration.annotation
    return None if value is None or value == MANDATORY else type(value).__name__


def _unit(name: str, meaning: str, value: Any) -> str | None:
    """The unit that the comment or the end of the name states; numbers alone have one."""
    is_number = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if not is_number and not (isinstance(value, str) and value.isdigit()):
        return None
    if phrase := _PHRASE.search(meaning):
        word = phrase[1] or phrase[2]
    elif suffix := _SUFFIX.search(name):
        word = suffix[1] or suffix[2]
    else:
        return None
    return _UNITS.get(word, word)


def _dataclass(target: str | None, declaration: config_sources.Declaration | None) -> Iterator[str]:
    if target is not None:
        place = declaration.place if declaration is not None else config_sources.class_place(target)
        yield f"dataclass {target} ({place})" if place else f"dataclass {target}"


def _aligned(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    for label, text in rows:
        for number, line in enumerate(text.splitlines()):
            yield f"  {'' if number else label:<9}{line}".rstrip()
