"""``rewards list``: who judges what, with which options, and what is added to a score."""

from __future__ import annotations

import pytest
from made_plugins import HEADER, REGISTER, MakePlugin
from made_plugins import make_plugin as make_plugin
from reward_rows import call, result_of

OPTIONS = '''
    def with_options(self, options):
        """``rhyme``: whether lines have to rhyme.

        More about it.
        """
        return self
'''


def test_sources_and_terms_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "mars")
    answer = call("list")
    assert answer.exit_code == 0
    lines = [line.split() for line in answer.stdout.splitlines()]
    assert any(line[:3] == ["maths", "math", "mars"] for line in lines)
    assert any(line[:2] == ["repetition", "mars"] for line in lines)


def test_a_plugins_source_is_listed_with_its_options(make_plugin: MakePlugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", make_plugin(body=OPTIONS + REGISTER, header=HEADER))
    found = result_of(call("list", "--json"))
    assert found == {
        "sources": [
            {
                "name": "made",
                "domains": ["poems"],
                "plugin": "made",
                "about": None,
                "options": "rhyme: whether lines have to rhyme.",
            }
        ],
        "auxiliary_terms": [],
    }
    assert "rhyme: whether lines have to rhyme." in call("list").stdout


def test_nothing_at_all_can_be_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANGU_VERL_PLUGINS", "")
    assert call("list").exit_code == 0
    assert result_of(call("list", "--json")) == {"sources": [], "auxiliary_terms": []}


def test_a_plugin_that_failed_is_named(make_plugin: MakePlugin) -> None:
    make_plugin("made", "import no_such_module")
    answer = call("list")
    assert answer.exit_code == 2
    assert answer.stderr.startswith("pangu-verl: plugin 'made'")
