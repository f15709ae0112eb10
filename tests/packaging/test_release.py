"""The checks of `make release`: on versions, repositories and archives made here, and on what this repository builds."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    """The script as a module; it lives outside of every package."""
    spec = importlib.util.spec_from_file_location("pangu_release", ROOT / ".ci" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    # Its dataclass looks its module up by name.
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = _script()

LICENCE = "the licence of the repository"
METADATA = "Metadata-Version: 2.4\nName: spam\nVersion: 1.2.3\n"
MODULE = {"spam/__init__.py": "", "spam/page.css": "", "spam/py.typed": ""}
WHEEL = {
    **MODULE,
    "spam-1.2.3.dist-info/METADATA": METADATA + "Requires-Dist: numpy>=2\n",
    "spam-1.2.3.dist-info/entry_points.txt": "[verl.plugins]\nspam = spam.boot\n",
    "spam-1.2.3.dist-info/licenses/LICENSE": LICENCE,
}
SDIST = {**MODULE, "PKG-INFO": METADATA + "Requires-Dist: numpy>=2\n", "LICENSE": LICENCE, "pyproject.toml": ""}

numbers = st.integers(min_value=0, max_value=30)
versions = st.builds("{}.{}.{}".format, numbers, numbers, numbers)


def package(name: str = "spam", version: str = "1.2.3", *requirements: str) -> Any:
    return release.Package(
        folder=Path(),
        name=name,
        version=version,
        requirements=tuple(map(Requirement, requirements)),
        entry_points=frozenset({("verl.plugins", "spam", "spam.boot")}),
    )


def wheel_faults(folder: Path, files: dict[str, str]) -> list[str]:
    path = folder / "spam-1.2.3-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return list(release.archive_faults(path, package(), set(MODULE), LICENCE.encode()))


def sdist_faults(folder: Path, files: dict[str, str]) -> list[str]:
    path = folder / "spam-1.2.3.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"spam-1.2.3/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return list(release.archive_faults(path, package(), set(MODULE), LICENCE.encode()))


def changed(files: dict[str, str], name: str, text: str | None) -> dict[str, str]:
    """The files with one of them written anew, or gone where ``text`` is None."""
    return {key: value for key, value in {**files, name: text}.items() if value is not None}


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def project(name: str, module: str, requires: str) -> dict[str, str]:
    """The files of a small package with one requirement."""
    declared = (
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "{name}"\nversion = "1.2.3"\nrequires-python = ">=3.11"\n'
        f'license-files = ["LICENSE"]\ndependencies = ["{requires}"]\n'
    )
    return {"pyproject.toml": declared, "LICENSE": LICENCE, f"{module}/__init__.py": "", f"{module}/py.typed": ""}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A committed repository of a core and one plugin that may be released."""
    plugin = project("spam-eggs", "spam_eggs", "spam>=1.2,<1.3")
    core = project("spam", "spam", "packaging>=23")
    core["pyproject.toml"] += (
        '[project.optional-dependencies]\neggs = ["spam-eggs>=1.2,<1.3"]\n'
        '[tool.hatch.build.targets.sdist]\ninclude = ["spam", "LICENSE"]\n'
        '[tool.uv.sources]\nspam-eggs = { path = "plugins/spam-eggs" }\n'
    )
    write(tmp_path, {".gitignore": "dist/\n", "CHANGELOG.md": "# Changelog\n\n## 1.2.3 (2026-11-22)\n", **core})
    write(tmp_path / "plugins" / "spam-eggs", plugin)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


@given(versions)
def test_packages_of_one_version_agree(version: str) -> None:
    assert not list(release.version_faults([package("spam", version), package("spam-eggs", version)]))


@given(versions, versions)
def test_a_plugin_of_another_version_is_named(core: str, plugin: str) -> None:
    faults = list(release.version_faults([package("spam", core), package("spam-eggs", plugin)]))
    expected = [f"spam-eggs has version {plugin}, spam has {core}; they move together"]
    assert faults == ([] if core == plugin else expected)


@pytest.mark.parametrize("version", ["", "1.2", "1.2.3rc1", "1.2.3.dev0", "1.2.3+cpu", "01.2.3", "v1.2.3"])
def test_a_version_that_is_not_three_numbers_is_refused(version: str) -> None:
    assert list(release.version_faults([package("spam", version)])) == [f"spam has version {version!r}; expected X.Y.Z"]


@pytest.mark.parametrize("requirement", ["spam", "spam<1.4,>=1.3", "Spam<1.2.3"])
def test_a_plugin_has_to_require_the_core_by_a_range_that_admits_it(requirement: str) -> None:
    faults = list(release.version_faults([package(), package("spam-eggs", "1.2.3", requirement)]))
    assert faults == [f"spam-eggs requires {requirement!r}; expected a range that admits 1.2.3"]


@given(versions, versions)
def test_the_newest_section_of_the_changelog_has_to_be_this_version(section: str, version: str) -> None:
    text = f"# Changelog\n\n## {section} (2026-11-22)\n\n- A change.\n\n## 0.0.0 (2025-01-01)\n"
    assert bool(list(release.changelog_faults(text, version))) == (section != version)


@pytest.mark.parametrize(
    "text",
    ["", "# Changelog\n", "## 1.2.3 (unreleased)\n", "## 1.2.3\n", "## 2.0.0 (2026-11-22)\n\n## 1.2.3 (2026-01-01)\n"],
)
def test_a_changelog_without_the_day_of_this_version_is_one_fault(text: str) -> None:
    (fault,) = release.changelog_faults(text, "1.2.3")
    assert fault.endswith("expected '1.2.3 (YYYY-MM-DD)'")


def test_a_committed_tree_without_the_tag_has_no_fault(repository: Path) -> None:
    git(repository, "tag", "v1.2.30")
    assert not list(release.tree_faults(repository, "1.2.3"))


def test_an_uncommitted_file_and_a_taken_tag_are_named(repository: Path) -> None:
    (repository / "left.txt").touch()
    git(repository, "tag", "v1.2.3")
    assert list(release.tree_faults(repository, "1.2.3")) == [
        "the tree has 1 uncommitted changes, the first in 'left.txt'; commit or remove them",
        "the tag v1.2.3 exists already; raise the version",
    ]


@pytest.mark.parametrize(("faults", "files"), [(wheel_faults, WHEEL), (sdist_faults, SDIST)])
def test_a_sound_archive_has_no_fault(faults: Any, files: dict[str, str], tmp_path: Path) -> None:
    assert not faults(tmp_path, files)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("spam/page.css", None, "lacks spam/page.css"),
        ("spam/py.typed", None, "lacks spam/py.typed"),
        ("spam/left.pyc", "", "holds spam/left.pyc, which is not in the repository"),
        ("spam/tests/helper.py", "", "holds the test spam/tests/helper.py"),
        ("spam/test_boot.py", "", "holds the test spam/test_boot.py"),
        ("scripts/__init__.py", "", "installs scripts beside spam"),
        ("spam.pth", "", "installs spam.pth beside spam"),
        ("spam-1.2.3.dist-info/licenses/LICENSE", None, "lacks the repository's LICENSE"),
        ("spam-1.2.3.dist-info/licenses/LICENSE", "another", "lacks the repository's LICENSE"),
        (
            "spam-1.2.3.dist-info/entry_points.txt",
            None,
            "lacks the entry point spam = spam.boot of the group verl.plugins",
        ),
        (
            "spam-1.2.3.dist-info/entry_points.txt",
            "[verl.plugins]\nSpam = spam.boot\n",
            "lacks the entry point spam = spam.boot of the group verl.plugins",
        ),
        ("spam-1.2.3.dist-info/METADATA", None, "is named None None; expected spam 1.2.3"),
    ],
)
def test_what_a_wheel_lacks_or_holds_beside_is_named(tmp_path: Path, name: str, text: str | None, fault: str) -> None:
    faults = wheel_faults(tmp_path, changed(WHEEL, name, text))
    assert f"spam-1.2.3-py3-none-any.whl {fault}" in faults
    assert not any("\n" in line for line in faults)


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("spam/page.css", None, "lacks spam/page.css"),
        ("tests/test_boot.py", "", "holds the test tests/test_boot.py"),
        ("LICENSE", None, "lacks the repository's LICENSE"),
        ("PKG-INFO", "Name: spam\nVersion: 1.2.4\n", "is named spam 1.2.4; expected spam 1.2.3"),
    ],
)
def test_what_an_sdist_lacks_or_holds_beside_is_named(tmp_path: Path, name: str, text: str | None, fault: str) -> None:
    assert f"spam-1.2.3.tar.gz {fault}" in sdist_faults(tmp_path, changed(SDIST, name, text))


@pytest.mark.parametrize(
    "requirement",
    [
        "torch==2.11.0",
        "torch===2.11.0",
        "torch==2.*",
        "torch>=2.10,!=2.13.0+cpu",
        "vllm==0.24.0; extra == 'cuda'",
        "eggs @ https://example.org/eggs-1.0-py3-none-any.whl",
    ],
)
def test_a_requirement_that_is_no_range_is_named(requirement: str) -> None:
    (fault,) = release.metadata_faults(f"{METADATA}Requires-Dist: {requirement}\n", package())
    assert fault.startswith(f"requires {requirement!r}; expected a range")


def test_a_requirement_with_an_extra_a_marker_and_a_gap_is_a_range() -> None:
    line = "transformers[torch]>=5.5.3,<5.11,!=5.6.0; python_version == '3.11'"
    assert not list(release.metadata_faults(f"{METADATA}Requires-Dist: {line}\n", package()))


def test_a_dynamic_version_is_read_from_the_module(tmp_path: Path) -> None:
    declared = '[project]\nname = "my-spam"\ndynamic = ["version"]\n[project.scripts]\nspam = "my_spam:main"\n'
    write(tmp_path, {"pyproject.toml": declared, "my_spam/__init__.py": '"""Spam."""\n\n__version__ = "1.2.3"\n'})
    found = release.read_package(tmp_path)
    assert (found.version, found.module) == ("1.2.3", "my_spam")
    assert found.entry_points == {("console_scripts", "spam", "my_spam:main")}


def test_a_commit_with_faults_gets_one_line_for_each_and_nothing_is_built(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "CHANGELOG.md").write_text("## 1.2.3 (unreleased)\n")
    assert release.main(repository) == 1
    assert capsys.readouterr().err.splitlines() == [
        "release: CHANGELOG.md begins with the section '1.2.3 (unreleased)'; expected '1.2.3 (YYYY-MM-DD)'",
        "release: the tree has 1 uncommitted changes, the first in 'CHANGELOG.md'; commit or remove them",
    ]
    assert not (repository / "dist").exists()


@pytest.mark.usefixtures("registry")
def test_a_sound_commit_is_built_and_the_way_to_publish_it_is_said(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release.main(repository) == 0
    built = {path.name for path in (repository / "dist").glob("spam*")}
    stems = ("spam-1.2.3", "spam_eggs-1.2.3")
    assert built == {f"{stem}{ending}" for stem in stems for ending in (".tar.gz", "-py3-none-any.whl")}
    said = capsys.readouterr().out
    assert "git tag --annotate v1.2.3" in said
    assert all(f"dist/{name}" in said for name in built)
    assert not git(repository, "tag")


@pytest.mark.usefixtures("registry")
def test_a_package_that_does_not_build_is_one_line(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    declared = repository / "plugins" / "spam-eggs" / "pyproject.toml"
    declared.write_text(declared.read_text().replace("hatchling.build", "hatchling.missing"))
    git(repository, "commit", "--quiet", "--all", "--message", "second")
    assert release.main(repository) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("release: spam-eggs does not build")


def test_the_packages_of_this_repository_agree_on_their_version() -> None:
    assert not list(release.version_faults(release.packages_of(ROOT)))


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("one", release.packages_of(ROOT), ids=lambda one: one.name)
def test_what_this_repository_builds_may_be_released(one: Any, tmp_path: Path) -> None:
    licence = (ROOT / "LICENSE").read_bytes()
    built = release.build(one, tmp_path)
    expected = release.module_files(one)
    assert not [fault for path in built for fault in release.archive_faults(path, one, expected, licence)]
