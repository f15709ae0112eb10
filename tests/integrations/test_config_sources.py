"""What is read from a configuration file, and that each value of ours says there what it is for."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from pangu_verl.integrations.verl import config_sources
from pangu_verl.integrations.verl.configuration import BACKENDS, CONFIG_PACKAGE, CONFIGURATIONS
from pangu_verl.integrations.verl.explain import ExplainedConfiguration

FOLDER = Path(str(files(CONFIG_PACKAGE)))


def source_file(text: str, section: str = "") -> config_sources.SourceFile:
    return config_sources.SourceFile("x.yaml", section, text.splitlines(), yaml.compose(text))


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ("# One.\na: 1", "One."),
        ("# One.\n\na: 1", ""),
        ("# One.\n#   - two\n#\n# three\na: 1", "One.\n  - two\n\nthree"),
        ("a: 1  # behind", "behind"),
        ("# above\na: 'x # y' # behind", "above\nbehind"),
        ("a: [1, # inside\n  2] # behind", "behind"),
        ("a: # behind\n  # of b\n  b: 1", "behind"),
        ("a: |\n  text\n# below\n", ""),
        ("a:\n", ""),
        ("# @package _global_\na: 1", ""),
        ("# of b\nb: 1\na: 1", ""),
    ],
)
def test_the_comment_of_a_key_is_the_block_above_and_what_stands_behind(text: str, comment: str) -> None:
    found = source_file(text).setting("a")
    assert found is not None
    assert found.comment == comment


@pytest.mark.parametrize("text", ["", "# nothing", "[1, 2]", "text", "b: 1", "a: null", "a: [b]"])
def test_a_file_without_the_key_sets_nothing(text: str) -> None:
    assert source_file(text).setting("a.b") is None


@pytest.mark.parametrize(
    ("section", "key", "place"),
    [("", "a.b", "x.yaml:2"), ("s.t", "s.t.a.b", "x.yaml:2"), ("s.t", "s.t", "x.yaml:1")],
)
def test_a_key_is_looked_up_below_the_section_of_its_file(section: str, key: str, place: str) -> None:
    found = source_file("a:\n  b: 1", section).setting(key)
    assert found is not None
    assert found.place == place


@pytest.mark.parametrize("key", ["a.b", "s", "s.ta.b", "s.tt.a.b"])
def test_a_key_outside_the_section_of_a_file_is_not_in_it(key: str) -> None:
    assert source_file("a:\n  b: 1", "s.t").setting(key) is None


# --- our own files ---------------------------------------------------------------------------------------------------


def leaves(node: Any, prefix: str = "") -> Iterator[str]:
    """The keys of a parsed file that hold a value and are not Hydra's."""
    for name, value in node.items():
        if name in ("defaults", "hydra"):
            continue
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def set_by_us(file: str, section: str = "") -> list[str]:
    return list(leaves(yaml.safe_load((FOLDER / file).read_text()), section))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_value_that_a_configuration_of_ours_sets_has_a_meaning(name: str) -> None:
    configuration = ExplainedConfiguration(name)
    keys = [*set_by_us("common.yaml"), *set_by_us(f"{name}.yaml")]
    assert [key for key in keys if not configuration.explain(key).meaning] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_value_that_a_backend_or_its_schedule_sets_has_a_meaning(backend: str) -> None:
    configuration = ExplainedConfiguration("quickstart", [f"backend={backend}"])
    engine = configuration.explain("model_engine").default
    optimizer = set_by_us(f"cosine/{engine}.yaml", "actor_rollout_ref.actor.optim.")
    keys = [*set_by_us(f"backend/{backend}.yaml"), *optimizer]
    assert [key for key in keys if not configuration.explain(key).meaning] == []


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.yaml")), ids=lambda path: path.stem)
def test_no_value_of_ours_is_without_a_comment_of_ours(path: Path) -> None:
    """verl's comment would do for a meaning, but it cannot say why we set what we set."""
    source = source_file(path.read_text())
    settings = {key: source.setting(key) for key in set_by_us(str(path))}
    assert [key for key, setting in settings.items() if setting is None or not setting.comment] == []
