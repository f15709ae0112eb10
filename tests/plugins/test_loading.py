"""Which plugins a process loads, and what is said of those that do not load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from made_plugins import REGISTER, MakePlugin

from pangu_verl.errors import WrongUse
from pangu_verl.plugins import PluginRecord, installed_plugins, load_plugins

OURS = {"maths", "code", "choice", "general"}


def record(name: str) -> PluginRecord:
    return next(record for record in load_plugins().records if record.name == name)


def error(name: str) -> str:
    found = record(name)
    assert found.status == "failed"
    assert found.error is not None and "\n" not in found.error
    return found.error


def test_our_own_rewards_come_by_the_same_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "mars")
    found = record("mars")
    assert (found.distribution, found.status) == ("pangu-verl", "ready")
    assert found.hooks == ("register_auxiliary_terms", "register_reward_sources")
    assert set(load_plugins().reward_sources) == OURS
    assert set(load_plugins().auxiliary_terms) == {"repetition", "length", "truncation", "fast_length"}


def test_our_own_scheduling_comes_by_the_same_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "scheduler")
    found, plugins = record("scheduler"), load_plugins()
    assert (found.distribution, found.status) == ("pangu-verl", "ready")
    assert found.hooks == ("register_bound_controllers", "register_priority_terms", "register_staleness_policies")
    assert list(plugins.staleness_policies) == ["wait", "drop", "mask"]
    assert list(plugins.bound_controllers) == ["adaptive"]
    assert set(plugins.priority_terms) == {
        "deadline_slack", "task_share_deficit", "expected_length", "informativeness", "age"
    }  # fmt: skip


def test_an_installed_plugin_is_loaded_and_recorded(make_plugin: MakePlugin) -> None:
    make_plugin("made")
    plugins = load_plugins()
    assert plugins.reward_sources["made"].domains == {"poems"}
    assert plugins.owner("register_reward_sources", "made") == "made"
    assert record("made") == PluginRecord(
        name="made", distribution="dist-made", version="1.0", hooks=("register_reward_sources",), status="ready"
    )
    plugins.require()


def test_each_process_builds_its_own(make_plugin: MakePlugin) -> None:
    make_plugin("made")
    assert load_plugins().reward_sources["made"] is not load_plugins().reward_sources["made"]


# --- selection -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "sources"),
    [("made", {"made"}), ("mars, made ,", OURS | {"made"}), ("", set()), ("mars", OURS)],
)
def test_the_environment_selects_by_name(
    make_plugin: MakePlugin, monkeypatch: pytest.MonkeyPatch, selection: str, sources: set[str]
) -> None:
    make_plugin("made")
    monkeypatch.setenv("PANGU_VERL_PLUGINS", selection)
    plugins = load_plugins()
    plugins.require()
    assert set(plugins.reward_sources) == sources
    assert set(installed_plugins()) == {name.strip() for name in selection.split(",") if name.strip()}


def test_a_plugin_left_out_is_not_imported(make_plugin: MakePlugin, monkeypatch: pytest.MonkeyPatch) -> None:
    make_plugin("made", "raise SystemExit('imported')")
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "mars")
    assert record("made").status == "left out"


def test_a_selected_name_that_is_not_installed_is_named_with_those_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "mras")
    with pytest.raises(WrongUse, match=r"plugin 'mras' is not installed \(installed: .*mars"):
        load_plugins().require()


def test_metadata_alone_says_what_is_installed(make_plugin: MakePlugin) -> None:
    make_plugin("made", "raise SystemExit('imported')")
    assert installed_plugins()["made"] == "dist-made 1.0"


# --- plugins that cannot be used ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(", "SyntaxError: "),
    ],
)
def test_an_import_that_fails_says_why(make_plugin: MakePlugin, body: str, complaint: str) -> None:
    make_plugin("made", body)
    assert error("made").startswith(f"cannot be imported from made_dist_made_made: {complaint}")


def test_a_hook_that_nobody_calls_is_named_with_the_near_one(make_plugin: MakePlugin) -> None:
    make_plugin("made", "@hookimpl\ndef register_reward_source(register): ...")
    assert error("made") == (
        "implements a hook that nobody calls, 'register_reward_source'; did you mean 'register_reward_sources'?"
    )


def test_a_hook_like_no_other_is_answered_with_all_of_them(make_plugin: MakePlugin) -> None:
    make_plugin("made", "@hookimpl\ndef zzz(): ...")
    assert error("made") == (
        "implements a hook that nobody calls, 'zzz'; the hooks are register_reward_sources, "
        "register_auxiliary_terms, register_staleness_policies, register_bound_controllers, register_priority_terms, "
        "on_checkpoint_saved"
    )


def test_a_wrong_argument_is_named_with_both_signatures(make_plugin: MakePlugin) -> None:
    make_plugin("made", "@hookimpl\ndef register_reward_sources(registrar): ...")
    assert error("made") == (
        "implements register_reward_sources(registrar) with the argument 'registrar', which this hook does not have; "
        "it is called as register_reward_sources(register) and may leave arguments out"
    )


def test_a_forgotten_marker_is_said(make_plugin: MakePlugin) -> None:
    make_plugin("made", "def register_reward_sources(register): ...")
    assert error("made").startswith("defines register_reward_sources without the marker; write @hookimpl")


def test_a_plugin_without_hooks_is_said(make_plugin: MakePlugin) -> None:
    make_plugin("made", "")
    assert error("made").startswith("implements no hook; it may implement register_reward_sources, ")


def test_a_hook_that_raises_while_registering_is_named(make_plugin: MakePlugin) -> None:
    make_plugin("made", "@hookimpl\ndef register_reward_sources(register):\n    raise KeyError('weights')")
    assert error("made") == "failed in register_reward_sources: KeyError: 'weights'"


@pytest.mark.parametrize(
    ("offered", "complaint"),
    [
        ("Source", "is the class Source, expected an object of it"),
        ("object()", "has no attribute 'name' (str)"),
        ("changed(name=3)", "has name = 3, expected str"),
        ("changed(name='')", "has an empty name"),
        ("changed(domains={'poems'})", "has domains = {'poems'}, expected frozenset[str]"),
        ("changed(domains=frozenset())", "has an empty domains"),
        ("changed(judge=None)", "has no method 'judge', expected async def judge(self, row)"),
        ("changed(judge=lambda row: None)", "has a method 'judge' that is not as expected: async def judge(self, row)"),
        ("changed(judge=two)", "has judge(row, other), expected async def judge(self, row)"),
    ],
)
def test_an_object_that_is_no_reward_source_is_said_to_lack_what(
    make_plugin: MakePlugin, offered: str, complaint: str
) -> None:
    helpers = """
def changed(**attributes):
    source = Source()
    vars(source).update(attributes)
    return source
async def two(row, other): ...
"""
    register = f"@hookimpl\ndef register_reward_sources(register):\n    register({offered})\n"
    make_plugin("made", helpers + register)
    assert error("made") == f"registers a reward source that {complaint} (see pangu_verl.types.RewardSource)"


def test_a_name_registered_twice_by_one_plugin_is_refused(make_plugin: MakePlugin) -> None:
    twice = "@hookimpl\ndef register_reward_sources(register):\n    register(Source())\n    register(Source())"
    make_plugin("made", twice)
    assert error("made") == "registers the reward source 'made' twice; rename one of them"


def test_a_name_that_another_plugin_has_taken_is_refused(make_plugin: MakePlugin) -> None:
    make_plugin("first")
    make_plugin("second")
    assert record("first").status == "ready"
    assert error("second") == "registers the reward source 'made', a name that plugin 'first' has taken; rename it"


def test_of_a_refused_plugin_nothing_is_kept(make_plugin: MakePlugin) -> None:
    other = 'class Other(Source):\n    name = "other"\n'
    make_plugin("first")
    make_plugin("second", other + REGISTER.replace("Source()", "Other()") + "    register(Source())\n")
    assert "other" not in load_plugins().reward_sources


def test_two_packages_with_one_plugin_name_are_both_named(make_plugin: MakePlugin) -> None:
    make_plugin("made", distribution="dist-one")
    make_plugin("made", distribution="dist-two")
    assert error("made") == "is a name that dist-one and dist-two both use; uninstall one of them"


@pytest.mark.parametrize("need", ["pangu-verl>=99", "Pangu_Verl >=99 ; python_version > '3'"])
def test_a_plugin_that_needs_a_newer_core_says_which(make_plugin: MakePlugin, need: str) -> None:
    make_plugin("made", requires=["numpy>=99", need])
    assert error("made") == "needs pangu-verl>=99, found 0.1.0; upgrade the one or the other"


@pytest.mark.parametrize(
    "need", ["pangu-verl", "pangu-verl>=0.1", "pangu-verl>=99; extra == 'later'", "not a requirement !"]
)
def test_a_need_that_is_met_or_does_not_apply_passes(make_plugin: MakePlugin, need: str) -> None:
    make_plugin("made", requires=[need])
    assert record("made").status == "ready"


def test_what_is_required_names_every_plugin_that_failed(make_plugin: MakePlugin) -> None:
    make_plugin("one", "import no_such_module")
    make_plugin("two", "")
    with pytest.raises(WrongUse) as caught:
        load_plugins().require()
    text = str(caught.value)
    assert "plugin 'one' (dist-one 1.0) cannot be imported" in text
    assert "plugin 'two' (dist-two 1.0) implements no hook" in text
    assert text.endswith("mend or uninstall it, or name those to load in PANGU_VERL_PLUGINS")


# --- tracing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "lines"), [("1", 1), ("", 0), ("0", 0), ("false", 0)])
def test_tracing_prints_every_call_of_a_hook(
    make_plugin: MakePlugin,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str,
    lines: int,
) -> None:
    make_plugin("made")
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "made")
    monkeypatch.setenv("PANGU_VERL_TRACE", value)
    load_plugins()
    assert capsys.readouterr().err.splitlines() == ["pangu_verl trace: register_reward_sources() in made"] * lines


# --- cost --------------------------------------------------------------------------------------------------------------


def test_loading_our_own_imports_neither_torch_nor_verl(tmp_path: Path) -> None:
    program = (
        "import sys; from pangu_verl.plugins import load_plugins; load_plugins().require(); "
        "print(*[name for name in ('torch', 'verl', 'ray', 'sympy', 'pandas') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []
