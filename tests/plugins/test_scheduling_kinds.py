"""Policies, controllers and terms from outside: taken by name, and refused with what they lack."""

from __future__ import annotations

import pytest
from made_plugins import MakePlugin

from pangu_verl.plugins import PluginRecord, Plugins, load_plugins

HEADER = """
from pangu_verl.hookspecs import hookimpl

class Policy:
    name = "made"
    masks_tokens = False
    def is_waited_for(self, group): return True
    def gives_up(self, group, next_version, bound_versions): return False

class Controller:
    name = "made"
    def decide(self, reading, now): return now

class Term:
    name = "made"
    def score(self, candidates): return 0.0 * candidates.orders

def changed(kind, **attributes):
    found = kind()
    vars(found).update(attributes)
    return found
"""
#: Of each kind: the hook, the class above, what it is called in messages, the protocol.
KINDS = [
    ("register_staleness_policies", "Policy", "staleness policy", "StalenessPolicy"),
    ("register_bound_controllers", "Controller", "bound controller", "BoundController"),
    ("register_priority_terms", "Term", "priority term", "PriorityTerm"),
]


def registering(hook: str, *offered: str) -> str:
    calls = "\n".join(f"    register({each})" for each in offered)
    return f"@hookimpl\ndef {hook}(register):\n{calls}\n"


def loaded(make_plugin: MakePlugin, body: str, name: str = "made") -> tuple[Plugins, PluginRecord]:
    make_plugin(name, body, header=HEADER)
    plugins = load_plugins()
    return plugins, next(record for record in plugins.records if record.name == name)


def test_one_plugin_may_offer_one_name_in_every_kind(make_plugin: MakePlugin) -> None:
    plugins, found = loaded(make_plugin, "\n".join(registering(hook, f"{kind}()") for hook, kind, *_ in KINDS))
    assert (found.status, found.hooks) == ("ready", tuple(sorted(hook for hook, *_ in KINDS)))
    assert type(plugins.staleness_policies["made"]).__name__ == "Policy"
    assert type(plugins.bound_controllers["made"]).__name__ == "Controller"
    assert type(plugins.priority_terms["made"]).__name__ == "Term"
    assert [plugins.owner(hook, "made") for hook, *_ in KINDS] == ["made"] * 3


def test_ours_and_those_from_outside_stand_side_by_side(make_plugin: MakePlugin) -> None:
    plugins, _ = loaded(make_plugin, registering("register_bound_controllers", "Controller()"))
    assert set(plugins.bound_controllers) == {"adaptive", "made"}


@pytest.mark.parametrize(
    ("hook", "name", "noun"),
    [
        ("register_staleness_policies", "drop", "staleness policy"),
        ("register_bound_controllers", "adaptive", "bound controller"),
        ("register_priority_terms", "age", "priority term"),
    ],
)
def test_a_name_of_ours_is_taken(make_plugin: MakePlugin, hook: str, name: str, noun: str) -> None:
    kind = next(kind for other, kind, *_ in KINDS if other == hook)
    _, found = loaded(make_plugin, registering(hook, f"changed({kind}, name={name!r})"))
    assert found.error == f"registers the {noun} {name!r}, a name that plugin 'scheduler' has taken; rename it"


@pytest.mark.parametrize(("hook", "kind", "noun", "protocol"), KINDS)
def test_what_is_no_such_object_is_named_in_the_singular_with_its_protocol(
    make_plugin: MakePlugin, hook: str, kind: str, noun: str, protocol: str
) -> None:
    _, found = loaded(make_plugin, registering(hook, kind))
    assert found.error == (
        f"registers a {noun} that is the class {kind}, expected an object of it (see pangu_verl.types.{protocol})"
    )


@pytest.mark.parametrize(("hook", "kind", "noun", "protocol"), KINDS)
def test_a_name_registered_twice_is_refused(
    make_plugin: MakePlugin, hook: str, kind: str, noun: str, protocol: str
) -> None:
    _, found = loaded(make_plugin, registering(hook, f"{kind}()", f"{kind}()"))
    assert found.error == f"registers the {noun} 'made' twice; rename one of them"


@pytest.mark.parametrize(
    ("hook", "offered", "complaint"),
    [
        (
            "register_staleness_policies",
            "changed(Policy, masks_tokens='yes')",
            "has masks_tokens = 'yes', expected bool",
        ),
        (
            "register_staleness_policies",
            "changed(Policy, is_waited_for=None)",
            "has no method 'is_waited_for', expected def is_waited_for(self, group)",
        ),
        (
            "register_staleness_policies",
            "changed(Policy, gives_up=lambda group: False)",
            "has gives_up(group), expected def gives_up(self, group, next_version, bound_versions)",
        ),
        ("register_staleness_policies", "Term()", "has no attribute 'masks_tokens' (bool)"),
        ("register_bound_controllers", "changed(Controller, name='')", "has an empty name"),
        (
            "register_bound_controllers",
            "changed(Controller, decide=lambda reading: reading)",
            "has decide(reading), expected def decide(self, reading, now)",
        ),
        ("register_bound_controllers", "Term()", "has no method 'decide', expected def decide(self, reading, now)"),
        ("register_priority_terms", "object()", "has no attribute 'name' (str)"),
        ("register_priority_terms", "changed(Term, score=3.0)", "has no method 'score', expected def score(self, candidates)"),
    ],
)  # fmt: skip
def test_what_an_object_lacks_is_said(make_plugin: MakePlugin, hook: str, offered: str, complaint: str) -> None:
    plugins, found = loaded(make_plugin, registering(hook, offered))
    noun, protocol = next((noun, protocol) for other, _, noun, protocol in KINDS if other == hook)
    assert found.error == f"registers a {noun} that {complaint} (see pangu_verl.types.{protocol})"
    assert "made" not in {**plugins.staleness_policies, **plugins.bound_controllers, **plugins.priority_terms}
