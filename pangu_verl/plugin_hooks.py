"""Which hooks a plugin implements, and what is wrong with them, said before pluggy would ignore or garble it.

pluggy passes over a function whose marker was forgotten and accepts hooks that nobody calls; here both are mistakes.
"""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import pluggy

from pangu_verl import hookspecs

#: Reads marks; nothing is registered with it.
_READER = pluggy.PluginManager(hookspecs.PROJECT)

#: Every hook's name and its arguments.
HOOKS: dict[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(value).parameters)
    for name, value in vars(hookspecs).items()
    if _READER.parse_hookspec_opts(hookspecs, name) is not None
}


def hooks_of(plugin: Any) -> tuple[str, ...]:
    """Names of the hooks that ``plugin`` implements, known or not."""
    return tuple(name for name in dir(plugin) if _READER.parse_hookimpl_opts(plugin, name) is not None)


def hook_mistake(plugin: Any) -> str | None:
    """What is wrong with the plugin's hooks, None if nothing is."""
    implemented = hooks_of(plugin)
    for name in HOOKS:
        if name not in implemented and callable(getattr(plugin, name, None)):
            return f"defines {name} without the marker; write @hookimpl (from pangu_verl.hookspecs) above it"
    if not implemented:
        return f"implements no hook; it may implement {', '.join(HOOKS)}"
    for name in implemented:
        if name not in HOOKS:
            near = difflib.get_close_matches(name, HOOKS, n=1)
            return f"implements a hook that nobody calls, {name!r}; " + (
                f"did you mean {near[0]!r}?" if near else f"the hooks are {', '.join(HOOKS)}"
            )
        if (mistake := _signature_mistake(name, getattr(plugin, name))) is not None:
            return mistake
    return None


def _signature_mistake(name: str, function: Any) -> str | None:
    signature = inspect.signature(function)
    for argument, parameter in signature.parameters.items():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and argument in HOOKS[name]:
            continue
        return (
            f"implements {name}{signature} with the argument {argument!r}, which this hook does not have; "
            f"it is called as {name}({', '.join(HOOKS[name])}) and may leave arguments out"
        )
    return None
