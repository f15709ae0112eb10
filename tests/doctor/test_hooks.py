"""What the doctor says of the plugins of pangu_verl."""

from __future__ import annotations

import pytest
from doctor_fakes import by_name
from made_plugins import MakePlugin, make_plugin

from pangu_verl.doctor import hooks

__all__ = ["make_plugin"]


@pytest.mark.parametrize(
    ("plugin", "found"),
    [
        ("mars", "register_auxiliary_terms, register_reward_sources"),
        ("scheduler", "register_bound_controllers, register_priority_terms, register_staleness_policies"),
    ],
)
def test_a_plugin_in_order_is_said_with_its_hooks(plugin: str, found: str) -> None:
    finding = by_name(hooks.examine())[f"hooks of plugin {plugin}"]
    assert (finding.status, finding.found) == ("ok", f"pangu-verl 0.1.0, {found}")


def test_a_plugin_that_is_left_out_is_no_problem(make_plugin: MakePlugin, monkeypatch: pytest.MonkeyPatch) -> None:
    make_plugin("made")
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "mars")
    assert by_name(hooks.examine())["hooks of plugin made"].found == "dist-made 1.0, left out"


def test_a_plugin_that_failed_is_a_problem_with_its_reason(make_plugin: MakePlugin) -> None:
    make_plugin("made", "import no_such_module")
    finding = by_name(hooks.examine())["hooks of plugin made"]
    assert finding.status == "problem"
    assert "No module named 'no_such_module'" in finding.found
    assert "PANGU_VERL_PLUGINS" in finding.advice
