"""What the source text says of a configuration key: the YAML files that set it, the Python files that read it.

Invariant: settings come in the order in which Hydra merges them, so the last one decides the value; places are
``file:line`` below site-packages or the checkout. Values are not read here: they come from the composed configuration.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import posixpath
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import hydra
import yaml  # type: ignore[import-untyped]
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from pangu_verl.integrations.verl.configuration import CONFIG_PACKAGE, UNSET, overridden

_CONFIG_PACKAGES = (CONFIG_PACKAGE, "verl.trainer.config")
_CODE_PACKAGES = ("verl", "pangu_verl", "pangu_verl_cpu")
_MAXIMUM_MENTIONS = 5
# verl's other trainers read the same keys, but no run of ours goes through them.
_OTHER_TRAINERS = (
    "verl/experimental/fully_async_policy/",
    "verl/experimental/one_step_off_policy/",
    "verl/experimental/separation/",
    "verl/trainer/main_ppo_v0.py",
    "verl/trainer/ppo/ray_trainer.py",
    "verl/trainer/sft_trainer",
)
# The parser in C is the faster one and is missing from some builds of PyYAML.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One place that sets a key; ``expression`` is its text where that holds an interpolation."""

    place: str
    comment: str = ""
    expression: str | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A YAML file and the section that Hydra puts it into (empty: the whole configuration)."""

    name: str
    section: str
    text_lines: Sequence[str]
    root: Any

    def setting(self, key: str) -> Setting | None:
        """Where this file sets ``key``, or a section above it as a whole; None if it sets neither."""
        if self.section == key:
            return Setting(place=f"{self.name}:1")
        prefix = f"{self.section}." if self.section else ""
        if not key.startswith(prefix):
            return None
        key_node: Any = None
        node = self.root
        for name in key.removeprefix(prefix).split("."):
            pairs = node.value if isinstance(node, yaml.MappingNode) else ()
            key_node, node = next((pair for pair in pairs if pair[0].value == name), (None, None))
            if key_node is None:
                return None
            if _expression(node) is not None:
                break
        return Setting(
            place=f"{self.name}:{key_node.start_mark.line + 1}",
            comment=self._comment(key_node, node),
            expression=_expression(node),
        )

    def _comment(self, key_node: Any, node: Any) -> str:
        """The block of comment lines directly above a key, then the comment behind its value."""
        first = last = key_node.start_mark.line
        while first > 0 and self.text_lines[first - 1].lstrip().startswith("#"):
            first -= 1
        above = [line.strip().lstrip("#").removeprefix(" ") for line in self.text_lines[first:last]]
        is_inline = (isinstance(node, yaml.ScalarNode) and node.style not in ("|", ">")) or (
            not isinstance(node, yaml.ScalarNode) and node.flow_style
        )
        end = node.end_mark if is_inline else key_node.end_mark
        behind = self.text_lines[end.line][end.column :].lstrip(" :")
        if behind.startswith("#"):
            above.append(behind.removeprefix("#").strip())
        return "\n".join(line for line in above if not line.startswith("@package")).strip()


@dataclass(frozen=True, slots=True)
class CommandLine:
    """An override, which is merged after all files."""

    override: Override

    def setting(self, key: str) -> Setting | None:
        """The override, if it sets ``key`` or a section above it as a whole."""
        node = overridden(self.override, key)
        if node is UNSET:
            return None
        expression = str(node) if not isinstance(node, dict) and "${" in str(node) else None
        return Setting(place=f"override {self.override.input_line}", expression=expression)


@dataclass(frozen=True, slots=True)
class Preset:
    """A key that sets others by a name, after all files and overrides."""

    key_and_name: str
    keys: Collection[str]

    def setting(self, key: str) -> Setting | None:
        return Setting(place=f"preset {self.key_and_name}") if key in self.keys else None


def merged_sources(config_name: str, overrides: Sequence[str]) -> list[SourceFile | CommandLine]:
    """The files and overrides that ``config_name`` is composed of, in merge order; Hydra's errors pass through."""
    with hydra.initialize_config_module(CONFIG_PACKAGE, version_base=None):
        loader = GlobalHydra.instance().config_loader()
        found = loader.compute_defaults_list(config_name=config_name, overrides=list(overrides), run_mode=RunMode.RUN)
    entries = [(default.config_path, default.package or "") for default in found.defaults]
    sources = [_source_file(posixpath.normpath(path), section) for path, section in entries]
    return [*(source for source in sources if source is not None), *map(CommandLine, found.config_overrides)]


@functools.cache
def _source_file(path: str, section: str) -> SourceFile | None:
    """None for what is not in one of the two packages, such as Hydra's own configuration."""
    for package in _CONFIG_PACKAGES:
        file = files(package) / f"{path.removesuffix('.yaml')}.yaml"
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            name = f"{package.replace('.', '/')}/{path.removesuffix('.yaml')}.yaml"
            return SourceFile(name, section, text.splitlines(), yaml.compose(text, Loader=_LOADER))
    return None


def _expression(node: Any) -> str | None:
    return node.value if isinstance(node, yaml.ScalarNode) and "${" in node.value else None


# --- readers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """Where a dataclass declares a field, and as what."""

    place: str
    annotation: str


def declared(target: str, field: str) -> Declaration | None:
    """The declaration of ``field`` in the class ``target`` or in one it derives from; None if the text has none."""
    found = _class(target)
    if found is None:
        return None
    file, node = found
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == field:
            return Declaration(place=f"{file}:{statement.lineno}", annotation=ast.unparse(statement.annotation))
    module = target.rpartition(".")[0]
    bases = [f"{module}.{ast.unparse(base).rpartition('.')[2]}" for base in node.bases]
    inherited = (declared(base, field) for base in bases if base != target)
    return next((declaration for declaration in inherited if declaration is not None), None)


def class_place(target: str) -> str | None:
    """Where the class ``target`` is written; None if it is not in verl's or our source."""
    found = _class(target)
    return f"{found[0]}:{found[1].lineno}" if found else None


def mentions(key: str) -> list[str]:
    """At most five places that mention the key's last name, one a file.

    Lines that name the key's section as well come first, then files that do; verl's other trainers come last.
    """
    above, _, name = key.rpartition(".")
    section = above.rpartition(".")[2]

    def distance(mention: tuple[str, int, str]) -> tuple[bool, bool, bool]:
        file, _, line = mention
        on_line = re.search(rf"\b{re.escape(section)}", line) is not None
        return file.startswith(_OTHER_TRAINERS), not on_line, not _is_named_in(section, file)

    nearest: dict[str, int] = {}
    for file, number, _ in sorted(_mentions(name), key=distance):
        nearest.setdefault(file, number)
    return [f"{file}:{number}" for file, number in nearest.items()][:_MAXIMUM_MENTIONS]


@functools.cache
def _class(target: str) -> tuple[str, ast.ClassDef] | None:
    """The class and its file. A package often re-exports its classes, so all files are searched, its own first."""
    module, _, name = target.rpartition(".")
    head = re.compile(rf"^class {re.escape(name)}\b", re.MULTILINE)
    candidates = [file for file, text in _code().items() if f"class {name}" in text and head.search(text)]
    for file in sorted(candidates, key=lambda file: not file.startswith(module.replace(".", "/"))):
        for node in _tree(file).body:
            if isinstance(node, ast.ClassDef) and node.name == name:
                return file, node
    return None


@functools.cache
def _mentions(name: str) -> list[tuple[str, int, str]]:
    """File, line number and line wherever ``name`` stands as an attribute or as a quoted text."""
    pattern = re.compile(rf"""\.{re.escape(name)}\b|["']{re.escape(name)}["']""")
    return [
        (file, number, line)
        for file, text in _code().items()
        if name in text
        for number, line in enumerate(text.split("\n"), 1)
        if name in line and pattern.search(line) and not line.lstrip().startswith("#")
    ]


@functools.cache
def _is_named_in(section: str, file: str) -> bool:
    return re.search(rf"\b{re.escape(section)}", _code()[file]) is not None


@functools.cache
def _tree(file: str) -> ast.Module:
    return ast.parse(_code()[file])


@functools.cache
def _code() -> dict[str, str]:
    """The text of the Python files of verl and of ours, by their names below site-packages; nothing is imported."""
    texts = {}
    for package in _CODE_PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in map(Path, (spec.submodule_search_locations if spec else None) or ()):
            for path in sorted(folder.rglob("*.py")):
                texts[path.relative_to(folder.parent).as_posix()] = path.read_text(encoding="utf-8", errors="replace")
    return texts
