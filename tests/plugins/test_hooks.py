"""Every hook is documented and exercised, and events reach the plugins in order."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from made_plugins import MakePlugin

from pangu_verl import hookspecs
from pangu_verl.errors import RunFailed
from pangu_verl.plugin_hooks import HOOKS, hooks_of
from pangu_verl.plugins import KINDS, load_plugins

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "plugins" / "example"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_says_what_it_is_for(hook: str) -> None:
    function = getattr(hookspecs, hook)
    documentation = inspect.getdoc(function) or ""
    assert len(documentation.splitlines()) >= 3
    for argument in HOOKS[hook]:
        assert f"``{argument}" in documentation, f"{hook} does not speak of {argument}"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_stands_in_the_readme_with_its_arguments(hook: str) -> None:
    assert f"`{hook}({', '.join(HOOKS[hook])})`" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_exercised_by_the_example_package(hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    import pangu_verl_example

    assert hook in hooks_of(pangu_verl_example)


def test_every_hook_that_registers_has_a_kind_and_no_other() -> None:
    assert set(KINDS) == {hook for hook in HOOKS if hook.startswith("register_")}
    assert all(re.match(r"register_|on_", hook) for hook in HOOKS)


# --- events ------------------------------------------------------------------------------------------------------------

KEEP = """
@hookimpl
def on_checkpoint_saved({arguments}):
    import builtins
    builtins.heard.append(("{name}", {arguments}))
"""


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """What the made plugins were told."""
    told: list[tuple[object, ...]] = []
    monkeypatch.setattr("builtins.heard", told, raising=False)
    return told


def notify(**arguments: object) -> None:
    load_plugins().notify(
        "on_checkpoint_saved", **{"folder": Path("saved"), "step": 3, "is_durable": True, **arguments}
    )


def test_an_event_reaches_every_plugin_by_name_order(make_plugin: MakePlugin, heard: list[tuple[object, ...]]) -> None:
    for name in ("later", "early"):
        make_plugin(name, KEEP.format(name=name, arguments="step"))
    notify(step=7)
    assert heard == [("early", 7), ("later", 7)]


def test_a_plugin_takes_the_arguments_that_it_names(make_plugin: MakePlugin, heard: list[tuple[object, ...]]) -> None:
    make_plugin("made", KEEP.format(name="made", arguments="is_durable, folder"))
    notify()
    assert heard == [("made", True, Path("saved"))]


def test_a_plugin_without_the_hook_is_left_alone(make_plugin: MakePlugin) -> None:
    make_plugin("made")
    notify()


def test_a_plugin_that_fails_in_an_event_is_named(make_plugin: MakePlugin, heard: list[tuple[object, ...]]) -> None:
    make_plugin("made", "@hookimpl\ndef on_checkpoint_saved(step):\n    raise OSError('disk gone')")
    with pytest.raises(RunFailed, match=r"^plugin 'made' failed in on_checkpoint_saved: OSError: disk gone; "):
        notify()


def test_verls_checkpoint_callback_passes_the_event_on(
    make_plugin: MakePlugin, heard: list[tuple[object, ...]], tmp_path: Path
) -> None:
    from pangu_verl.integrations.verl.callbacks import CheckpointEvents

    make_plugin("made", KEEP.format(name="made", arguments="folder, step, is_durable"))
    events = CheckpointEvents(config=None)
    events.on_save(trainer=None, global_step=5, checkpoint_dir=str(tmp_path), async_save=True, later_argument=1)
    assert heard == [("made", tmp_path.resolve(), 5, False)]
