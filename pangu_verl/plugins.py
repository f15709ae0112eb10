"""Finds, checks and loads the plugins of a process.

Built-ins come by the same entry points as outsiders. Invariants: whatever is wrong with a plugin is recorded by its
name and never raised while loading, so that all of them can be listed; ``require`` then refuses to go on with a
plugin that failed. No state is kept in this module: each process builds its own ``Plugins``.

``PANGU_VERL_PLUGINS=a,b`` loads those alone (empty: none), ``PANGU_VERL_TRACE=1`` prints every call of a hook.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import EntryPoint, entry_points, version
from types import MappingProxyType
from typing import Any, Literal

import pluggy
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pangu_verl import hookspecs
from pangu_verl.conformity import shortcoming
from pangu_verl.errors import RunFailed, WrongUse, first_line
from pangu_verl.plugin_hooks import hook_mistake, hooks_of
from pangu_verl.types import AuxiliaryTerm, BoundController, PriorityTerm, RewardSource, StalenessPolicy

SELECTION = "PANGU_VERL_PLUGINS"
TRACE = "PANGU_VERL_TRACE"
#: The hooks by which objects are registered, and what each object has to be.
KINDS: Mapping[str, type] = MappingProxyType(
    {
        "register_reward_sources": RewardSource,
        "register_auxiliary_terms": AuxiliaryTerm,
        "register_staleness_policies": StalenessPolicy,
        "register_bound_controllers": BoundController,
        "register_priority_terms": PriorityTerm,
    }
)
_CORE = "pangu-verl"

Status = Literal["ready", "failed", "left out"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginRecord:
    """What became of one plugin. ``error`` says what is wrong where ``status`` is "failed"."""

    name: str
    distribution: str | None = None
    version: str | None = None
    hooks: tuple[str, ...] = ()
    status: Status = "ready"
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"hooks": list(self.hooks)}


class Plugins:
    """The plugins of this process, loaded. Made by ``load_plugins``."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._records: dict[str, PluginRecord] = {}
        self._plugins: dict[str, Any] = {}
        self._objects: dict[str, dict[str, tuple[str, Any]]] = {kind: {} for kind in KINDS}

    @property
    def records(self) -> list[PluginRecord]:
        """One per plugin that is installed or was asked for, in the order of loading."""
        return list(self._records.values())

    @property
    def reward_sources(self) -> dict[str, RewardSource]:
        """By name, in the order of registration."""
        return {name: source for name, (_, source) in self._objects["register_reward_sources"].items()}

    @property
    def auxiliary_terms(self) -> dict[str, AuxiliaryTerm]:
        """By name, in the order of registration."""
        return {name: term for name, (_, term) in self._objects["register_auxiliary_terms"].items()}

    @property
    def staleness_policies(self) -> dict[str, StalenessPolicy]:
        """By name, in the order of registration."""
        return {name: policy for name, (_, policy) in self._objects["register_staleness_policies"].items()}

    @property
    def bound_controllers(self) -> dict[str, BoundController]:
        """By name, in the order of registration."""
        return {name: controller for name, (_, controller) in self._objects["register_bound_controllers"].items()}

    @property
    def priority_terms(self) -> dict[str, PriorityTerm]:
        """By name, in the order of registration."""
        return {name: term for name, (_, term) in self._objects["register_priority_terms"].items()}

    def owner(self, kind: str, name: str) -> str:
        """The plugin that registered ``name`` through the hook ``kind``."""
        return self._objects[kind][name][0]

    def require(self) -> None:
        """Raise ``WrongUse`` if a plugin failed, with what is wrong."""
        failed = [f"plugin {record.name!r}{_origin(record)} {record.error}" for record in self.records if record.error]
        if failed:
            raise WrongUse(f"{'; '.join(failed)}; mend or uninstall it, or name those to load in {SELECTION}")

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call an event's hook in each plugin; raises ``RunFailed`` naming the plugin in which it failed."""
        for name, plugin in self._plugins.items():
            if hook not in self._records[name].hooks:
                continue
            try:
                self._call(plugin, hook, **arguments)
            except Exception as error:
                raise RunFailed(
                    f"plugin {name!r} failed in {hook}: {type(error).__name__}: {first_line(error)}; mend the plugin"
                ) from error

    def trace(self) -> None:
        """Print every call of a hook on standard error from now on."""

        def before(hook: str, implementations: Sequence[pluggy.HookImpl], arguments: Mapping[str, Any]) -> None:
            shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items() if not callable(value))
            names = ", ".join(implementation.plugin_name for implementation in implementations)
            print(f"pangu_verl trace: {hook}({shown}) in {names}", file=sys.stderr, flush=True)

        self._manager.add_hookcall_monitoring(before, lambda *_: None)

    def note(self, record: PluginRecord) -> None:
        """Keep the record of a plugin that is not to be loaded."""
        self._records[record.name] = record

    def load(self, entry_point: EntryPoint) -> None:
        """Import a plugin, check its hooks and let it register; a failure goes into its record."""
        record = _record(entry_point)
        try:
            plugin = _imported(entry_point)
            record = replace(record, hooks=hooks_of(plugin))
            if (mistake := hook_mistake(plugin)) is not None:
                raise _Refused(mistake)
            self._manager.register(plugin, name=record.name)
            self._take_objects(record.name, self._offered(plugin, record))
            self._plugins[record.name] = plugin
        except (_Refused, pluggy.PluginValidationError) as error:
            record = replace(record, status="failed", error=" ".join(str(error).split()))
        self._records[record.name] = record

    def _offered(self, plugin: Any, record: PluginRecord) -> list[tuple[str, Any]]:
        """What the plugin registers, each object with the hook that it came by."""
        offered: dict[str, list[Any]] = {kind: [] for kind in KINDS if kind in record.hooks}
        for kind, objects in offered.items():
            try:
                self._call(plugin, kind, register=objects.append)
            except Exception as error:
                raise _Refused(f"failed in {kind}: {type(error).__name__}: {first_line(error)}") from error
        return [(kind, candidate) for kind, objects in offered.items() for candidate in objects]

    def _take_objects(self, plugin: str, offered: Sequence[tuple[str, Any]]) -> None:
        """Add all of a plugin's objects, or none of them."""
        fresh: dict[tuple[str, str], Any] = {}
        for kind, candidate in offered:
            noun = _noun(kind)
            if (lack := shortcoming(candidate, KINDS[kind])) is not None:
                raise _Refused(f"registers a {noun} that {lack} (see pangu_verl.types.{KINDS[kind].__name__})")
            if (kind, candidate.name) in fresh:
                raise _Refused(f"registers the {noun} {candidate.name!r} twice; rename one of them")
            if (taken := self._objects[kind].get(candidate.name)) is not None:
                raise _Refused(
                    f"registers the {noun} {candidate.name!r}, a name that plugin {taken[0]!r} has taken; rename it"
                )
            fresh[kind, candidate.name] = candidate
        for (kind, name), candidate in fresh.items():
            self._objects[kind][name] = (plugin, candidate)

    def _call(self, plugin: Any, hook: str, **arguments: Any) -> None:
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        self._manager.subset_hook_caller(hook, others)(**arguments)


def load_plugins() -> Plugins:
    """Load the installed plugins that the environment selects. Raises nothing for a plugin that is broken."""
    plugins = Plugins()
    if os.environ.get(TRACE, "").lower() not in ("", "0", "false"):
        plugins.trace()
    found = _installed()
    selection = selected()
    for name, distributions in _clashes(found).items():
        plugins.note(
            PluginRecord(
                name=name,
                status="failed",
                error=f"is a name that {' and '.join(distributions)} both use; uninstall one of them",
            )
        )
    clashing = {record.name for record in plugins.records}
    for entry_point in found:
        if entry_point.name in clashing:
            continue
        if selection is None or entry_point.name in selection:
            plugins.load(entry_point)
        else:
            plugins.note(replace(_record(entry_point), status="left out"))
    for name in sorted((selection or frozenset()) - {record.name for record in plugins.records}):
        known = ", ".join(sorted({entry_point.name for entry_point in found})) or "none"
        plugins.note(PluginRecord(name=name, status="failed", error=f"is not installed (installed: {known})"))
    return plugins


def selected() -> frozenset[str] | None:
    """The names in ``PANGU_VERL_PLUGINS``; None where it is not set."""
    text = os.environ.get(SELECTION)
    return None if text is None else frozenset(name.strip() for name in text.split(",") if name.strip())


def installed_plugins() -> dict[str, str]:
    """Distribution and version of each selected plugin by name; nothing of a plugin is imported."""
    selection = selected()
    records = [_record(entry_point) for entry_point in _installed()]
    return {
        record.name: f"{record.distribution} {record.version}"
        for record in records
        if selection is None or record.name in selection
    }


class _Refused(Exception):
    """A plugin cannot be used; the message goes on after its name."""


def _installed() -> list[EntryPoint]:
    """The entry points of our group, our own first, each distribution's once."""
    unique = {(_distribution(point), point.name): point for point in entry_points(group=hookspecs.PROJECT)}
    return [unique[key] for key in sorted(unique, key=lambda key: (key[0] != _CORE, key[1], key[0]))]


def _distribution(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else ""


def _clashes(found: Sequence[EntryPoint]) -> dict[str, list[str]]:
    owners: dict[str, list[str]] = {}
    for entry_point in found:
        owners.setdefault(entry_point.name, []).append(_distribution(entry_point))
    return {name: distributions for name, distributions in owners.items() if len(distributions) > 1}


def _noun(kind: str) -> str:
    """What a hook registers, in the singular."""
    plural = kind.removeprefix("register_").replace("_", " ")
    return f"{plural.removesuffix('ies')}y" if plural.endswith("ies") else plural.removesuffix("s")


def _record(entry_point: EntryPoint) -> PluginRecord:
    distribution = entry_point.dist
    return PluginRecord(
        name=entry_point.name,
        distribution=distribution.name if distribution else None,
        version=distribution.version if distribution else None,
    )


def _origin(record: PluginRecord) -> str:
    return f" ({record.distribution} {record.version})" if record.distribution else ""


def _imported(entry_point: EntryPoint) -> Any:
    _check_core(entry_point)
    try:
        return entry_point.load()
    except (Exception, SystemExit) as error:
        raise _Refused(
            f"cannot be imported from {entry_point.value}: {type(error).__name__}: {first_line(error)}"
        ) from error


def _check_core(entry_point: EntryPoint) -> None:
    """A distribution says in its own requirements which pangu-verl it needs; pip may have been told to ignore them."""
    core = version(_CORE)
    for text in (entry_point.dist.requires if entry_point.dist else None) or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if canonicalize_name(requirement.name) != _CORE or not applies:
            continue
        if not requirement.specifier.contains(core, prereleases=True):
            raise _Refused(f"needs {_CORE}{requirement.specifier}, found {core}; upgrade the one or the other")
