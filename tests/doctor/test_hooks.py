"""What the doctor says of the plugins of pangu_verl."""

from __future__ import annotations

import pytest
from doctor_fakes import by_name
from made_plugins import MakePlugin, make_plugin

from pangu_verl.doctor import hooks

__all__ = ["make_plugin"]


def test_a_plugin_in_order_is_said_with_its_hooks() -> None:
    finding = by_name(hooks.examine())["hooks of plugin mars"]
    assert finding.status == "ok"
    assert finding.found == "pangu-verl 0.1.0, register_auxiliary_terms, register_reward_sources"


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
