"""Whether our plugins are there in every process of a run, and what is said where they are not."""

from __future__ import annotations

import subprocess
import sys
import types
from importlib.metadata import EntryPoint, PackageNotFoundError
from typing import Any

import pytest

from pangu_verl.errors import RunFailed, WrongUse
from pangu_verl.integrations.verl import boot, features
from pangu_verl.integrations.verl.features import Feature

HEAVY = "torch", "verl", "ray", "transformers", "numpy"


@pytest.mark.parametrize(
    "module",
    ["pangu_verl", "pangu_verl.integrations.verl.boot", "pangu_verl.integrations.verl.features", "pangu_verl.cli"],
)
def test_importing_it_imports_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


# --- versions --------------------------------------------------------------------------------------------------------


def outcome_with(monkeypatch: pytest.MonkeyPatch, verl_version: str) -> str:
    monkeypatch.setattr(boot, "version", lambda _: verl_version)
    return boot._boot()


def test_the_installed_verl_is_accepted() -> None:
    assert boot.outcome == "ready"


@pytest.mark.parametrize("version", ["0.9.1", "0.9.2", "0.9.1.post1", "0.9.1+cpu", "0.9.2.dev3"])
def test_a_verl_in_range_is_accepted(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    assert outcome_with(monkeypatch, version) == "ready"


@pytest.mark.parametrize("version", ["0.8.0", "0.9.0", "0.9.1.dev0", "0.10.0", "0.10.0rc1", "0.10.0.dev0", "1.0"])
def test_a_verl_out_of_range_is_named_with_the_range(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    assert outcome_with(monkeypatch, version) == f"pangu_verl needs verl>=0.9.1,<0.10, found {version}"


def test_a_verl_with_a_strange_version_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "InvalidVersion" in outcome_with(monkeypatch, "main")


def test_a_missing_verl_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(boot, "version", version)
    assert boot._boot().startswith("PackageNotFoundError: ")


# --- outcomes --------------------------------------------------------------------------------------------------------


def plugin(name: str, **attributes: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(attributes)
    return module


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The plugins that an environment names to verl, by entry point; to be filled in by a test."""
    named: dict[str, str] = {}

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [EntryPoint(name, module, group) for name, module in named.items()]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    return named


def outcomes() -> dict[str, str]:
    from pangu_verl.integrations.verl.boot_check import boot_outcomes

    return boot_outcomes()


def test_in_this_process_every_plugin_is_in_order() -> None:
    found = outcomes()
    assert set(found) == {"pangu_verl", "pangu_verl_cpu"}
    assert found["pangu_verl"] == "ready"
    assert found["pangu_verl_cpu"] in ("ready", "inactive")


def test_a_plugin_that_verl_loaded_says_its_outcome(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fine_plugin", plugin("fine_plugin", outcome="ready"))
    monkeypatch.setitem(sys.modules, "old_plugin", plugin("old_plugin", outcome="needs a newer verl"))
    installed.update(pangu_verl_fine="fine_plugin", pangu_verl_old="old_plugin")
    assert outcomes() == {"pangu_verl_fine": "ready", "pangu_verl_old": "needs a newer verl"}


def test_a_plugin_that_verl_swallowed_says_what_it_raised(installed: dict[str, str]) -> None:
    installed["pangu_verl_gone"] = "no_such_module"
    assert outcomes() == {"pangu_verl_gone": "ModuleNotFoundError: No module named 'no_such_module'"}


def test_a_sound_plugin_that_verl_did_not_load_is_not_called_ready(
    installed: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "late_plugin.py").write_text("outcome = 'ready'\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed["pangu_verl_late"] = "late_plugin"
    assert outcomes() == {"pangu_verl_late": "verl was told not to load it"}
    monkeypatch.delitem(sys.modules, "late_plugin")


def test_a_plugin_without_an_outcome_is_named(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mute_plugin", plugin("mute_plugin"))
    installed["pangu_verl_mute"] = "mute_plugin"
    assert outcomes()["pangu_verl_mute"].startswith("AttributeError: ")


def test_plugins_of_others_are_not_asked(installed: dict[str, str]) -> None:
    installed.update(other="no_such_module")
    assert outcomes() == {"pangu_verl": "not installed in this process"}


@pytest.mark.parametrize("outcome", ["ready", "inactive"])
def test_a_plugin_in_order_is_not_refused(outcome: str) -> None:
    from pangu_verl.integrations.verl.boot_check import refuse_failed_boot

    refuse_failed_boot("driver", {"pangu_verl": "ready", "pangu_verl_cpu": outcome})


@pytest.mark.parametrize("outcome", ["ImportError: no module 'x'", "not loaded", "", "Ready"])
def test_a_refusal_names_plugin_process_and_cause(outcome: str) -> None:
    from pangu_verl.integrations.verl.boot_check import refuse_failed_boot

    with pytest.raises(RunFailed) as caught:
        refuse_failed_boot("reward worker 3", {"pangu_verl": "ready", "pangu_verl_cpu": outcome})
    assert str(caught.value) == (
        f"plugin 'pangu_verl_cpu' did not load in process 'reward worker 3': {outcome}; "
        "install the same environment on every node and check VERL_USE_EXTERNAL_PLUGINS"
    )


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        (
            {"mars": "pangu-verl 0.1.0"},
            "plugin 'mine' is mine 2.0 in the driver and missing in process 'reward worker 1'",
        ),
        (
            {"mars": "pangu-verl 0.1.0", "mine": "mine 1.0"},
            "plugin 'mine' is mine 2.0 in the driver and mine 1.0 in process 'reward worker 1'",
        ),
        (
            {"mars": "pangu-verl 0.1.0", "mine": "mine 2.0", "more": "more 1.0"},
            "plugin 'more' is missing in the driver and more 1.0 in process 'reward worker 1'",
        ),
    ],
)
def test_a_worker_with_other_plugins_than_the_driver_is_named(installed: dict[str, str], said: str) -> None:
    from pangu_verl.integrations.verl.boot_check import refuse_other_plugins

    with pytest.raises(RunFailed) as caught:
        refuse_other_plugins("reward worker 1", installed, {"mars": "pangu-verl 0.1.0", "mine": "mine 2.0"})
    assert str(caught.value) == f"{said}; install the same environment on every node"


def test_a_worker_with_the_drivers_plugins_is_not_refused() -> None:
    from pangu_verl.integrations.verl.boot_check import refuse_other_plugins

    refuse_other_plugins("reward worker 1", {"mine": "mine 2.0"}, {"mine": "mine 2.0"})


# --- features --------------------------------------------------------------------------------------------------------


def test_the_installed_verl_lacks_nothing() -> None:
    assert features.missing_features() == []
    features.require_features()


@pytest.mark.parametrize(
    "missing",
    [
        Feature("verl.no_such_module", "Anything", "rewards"),
        Feature("verl.utils.config", "no_such_function", "rewards"),
        Feature("verl.trainer.ppo.v1.trainer_base", "PPOTrainer.no_such_hook", "rewards"),
        Feature("verl.trainer.ppo.v1.trainer_base", "NoSuchTrainer.prepare_step", "rewards"),
    ],
)
def test_a_missing_feature_is_named_with_its_purpose(monkeypatch: pytest.MonkeyPatch, missing: Feature) -> None:
    present = Feature("verl.utils.config", "validate_config", "checks")
    monkeypatch.setattr(features, "FEATURES", (present, missing))
    with pytest.raises(WrongUse) as caught:
        features.require_features()
    assert str(caught.value) == (
        f"the installed verl lacks {missing.module}.{missing.attribute} (for rewards); pangu_verl needs verl>=0.9.1,<0.10"
    )
