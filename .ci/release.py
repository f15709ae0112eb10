"""What `make release` runs: checks that this commit can be released, builds its packages, checks what was built.

Invariant: dist/ receives files only from a commit whose sources passed every check, and every failed check is one
line. The policy that the checks hold is docs/releasing.md. It neither tags nor uploads: it says how.
"""

from __future__ import annotations

import configparser
import email.parser
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from uv import find_uv_bin

ROOT = Path(__file__).parents[1]

_TEST_FILE = re.compile(r"(^|/)tests?/|(^|/)(test_[^/]*|conftest)\.py$")
_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}")
_VERSION_LINE = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """One distribution as its pyproject.toml declares it."""

    folder: Path
    name: str
    version: str
    requirements: tuple[Requirement, ...]
    entry_points: frozenset[tuple[str, str, str]]

    @property
    def module(self) -> str:
        """The one name that it installs."""
        return canonicalize_name(self.name).replace("-", "_")

    @property
    def stem(self) -> str:
        """What the names of its archives start with."""
        return f"{self.module}-{self.version}"


def read_package(folder: Path) -> Package:
    """What the pyproject.toml of ``folder`` says; a dynamic version stands in the module."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    requirements = [*project.get("dependencies", []), *(line for extra in extras for line in extra)]
    groups = {"console_scripts": project.get("scripts", {}), **project.get("entry-points", {})}
    package = Package(
        folder=folder,
        name=project["name"],
        version=project.get("version", ""),
        requirements=tuple(map(Requirement, requirements)),
        entry_points=frozenset((group, *point) for group, points in groups.items() for point in points.items()),
    )
    if "version" in project.get("dynamic", []):
        found = _VERSION_LINE.search((folder / package.module / "__init__.py").read_text())
        package = replace(package, version=found[1] if found else "")
    return package


def packages_of(root: Path) -> list[Package]:
    """The core first, then the plugins that are released with it: those whose folder it tells uv, as its own."""
    sources = tomllib.loads((root / "pyproject.toml").read_text()).get("tool", {}).get("uv", {}).get("sources", {})
    return [read_package(root), *(read_package(root / source["path"]) for source in sources.values())]


def source_faults(root: Path, packages: Sequence[Package]) -> Iterator[str]:
    """What keeps this commit from being built for a release."""
    version = packages[0].version
    yield from version_faults(packages)
    yield from changelog_faults((root / "CHANGELOG.md").read_text(), version)
    yield from tree_faults(root, version)


def version_faults(packages: Sequence[Package]) -> Iterator[str]:
    """One version X.Y.Z for all, admitted by the ranges in which they require each other."""
    core = packages[0]
    if not _VERSION.fullmatch(core.version):
        yield f"{core.name} has version {core.version!r}; expected X.Y.Z"
        return
    versions = {canonicalize_name(package.name): package.version for package in packages}
    for package in packages:
        if package.version != core.version:
            yield f"{package.name} has version {package.version}, {core.name} has {core.version}; they move together"
        for requirement in package.requirements:
            required = versions.get(canonicalize_name(requirement.name))
            if required and not (requirement.specifier and requirement.specifier.contains(required)):
                yield f"{package.name} requires {str(requirement)!r}; expected a range that admits {required}"


def changelog_faults(text: str, version: str) -> Iterator[str]:
    """The changelog's newest section is this version's, with the day of the release."""
    newest = re.search(r"^## (.*)$", text, re.MULTILINE)
    heading = newest[1] if newest else ""
    if not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d{{2}}-\d{{2}}\)", heading):
        yield f"CHANGELOG.md begins with the section {heading!r}; expected '{version} (YYYY-MM-DD)'"


def tree_faults(root: Path, version: str) -> Iterator[str]:
    """Nothing uncommitted, and no tag of this version yet."""
    changed = _git(root, "status", "--porcelain").splitlines()
    if changed:
        yield f"the tree has {len(changed)} uncommitted changes, the first in {changed[0][3:]!r}; commit or remove them"
    if _git(root, "tag", "--list", f"v{version}"):
        yield f"the tag v{version} exists already; raise the version"


def build(package: Package, target: Path) -> list[Path]:
    """Its sdist, and its wheel built from that sdist, in ``target``; uv itself says why one does not build."""
    command = [find_uv_bin(), "build", "--quiet", "--out-dir", str(target), str(package.folder)]
    subprocess.run(command, check=True)
    return [target / f"{package.stem}.tar.gz", target / f"{package.stem}-py3-none-any.whl"]


def module_files(package: Package) -> set[str]:
    """The files of its module that git holds or would take up, and the marker that says it has types."""
    listed = _git(package.folder, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", package.module)
    return {name for name in listed.split("\0") if (package.folder / name).is_file()} | {f"{package.module}/py.typed"}


def archive_faults(archive: Path, package: Package, expected: set[str], licence: bytes) -> Iterator[str]:
    """What a wheel or sdist of ``package`` lacks, holds beside, or declares wrongly.

    ``expected`` are the files of the module, as ``module_files`` names them; ``licence`` is the repository's.
    """
    files = _read(archive)
    wheel = archive.suffix == ".whl"
    info = f"{package.stem}.dist-info"
    module = {name for name in files if name.startswith(f"{package.module}/")}
    faults = [f"lacks {name}" for name in sorted(expected - module)]
    faults += [f"holds {name}, which is not in the repository" for name in sorted(module - expected)]
    faults += [f"holds the test {name}" for name in sorted(files) if _TEST_FILE.search(name)]
    if wheel:
        installed = {PurePosixPath(name).parts[0] for name in files}
        faults += [f"installs {name} beside {package.module}" for name in sorted(installed - {package.module, info})]
        faults += entry_point_faults(files.get(f"{info}/entry_points.txt", b"").decode(), package)
    if files.get(f"{info}/licenses/LICENSE" if wheel else "LICENSE") != licence:
        faults.append("lacks the repository's LICENSE")
    faults += metadata_faults(files.get(f"{info}/METADATA" if wheel else "PKG-INFO", b"").decode(), package)
    yield from (f"{archive.name} {fault}" for fault in faults)


def metadata_faults(text: str, package: Package) -> Iterator[str]:
    """Another name or version than declared, and requirements that are no ranges over what registries serve."""
    metadata = email.parser.HeaderParser().parsestr(text)
    if (metadata["Name"], metadata["Version"]) != (package.name, package.version):
        yield f"is named {metadata['Name']} {metadata['Version']}; expected {package.name} {package.version}"
    for line in metadata.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        exact = any(part.operator in ("==", "===") or "+" in part.version for part in requirement.specifier)
        if exact or requirement.url:
            yield f"requires {line!r}; expected a range without local versions (constraints.txt holds the exact set)"


def entry_point_faults(text: str, package: Package) -> Iterator[str]:
    """Entry points that are declared and not in ``text``, a wheel's entry_points.txt."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    found = {(group, *point) for group in parser.sections() for point in parser.items(group)}
    for group, name, value in sorted(package.entry_points - found):
        yield f"lacks the entry point {name} = {value} of the group {group}"


def next_steps(root: Path, version: str, archives: Sequence[Path]) -> str:
    """The commands that publish, for a person to run."""
    names = " ".join(str(path.relative_to(root)) for path in archives)
    return (
        f"{len(archives)} archives of {version} are built and checked. Next, by hand:\n"
        f"  git tag --annotate v{version} --message {version}\n"
        f"  git push origin v{version}\n"
        f"  uv publish {names}"
    )


def main(root: Path = ROOT) -> int:
    """Checks, builds, checks again: 0 when the release may be published, else 1."""
    packages = packages_of(root)
    archives: list[Path] = []
    faults = list(source_faults(root, packages))
    if not faults:
        licence = (root / "LICENSE").read_bytes()
        for package in packages:
            try:
                built = build(package, root / "dist")
            except subprocess.CalledProcessError as error:
                faults.append(f"{package.name} does not build: uv build left with code {error.returncode}")
                continue
            expected = module_files(package)
            faults += [fault for path in built for fault in archive_faults(path, package, expected, licence)]
            archives += built
    for fault in faults:
        print(f"release: {fault}", file=sys.stderr)
    if not faults:
        print(next_steps(root, packages[0].version, archives))
    return 1 if faults else 0


def _read(archive: Path) -> dict[str, bytes]:
    """The files of an archive by name; of an sdist, by the name below its one folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            return {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}
    with tarfile.open(archive) as opened:
        members = [(member.name.partition("/")[2], opened.extractfile(member)) for member in opened if member.isfile()]
        return {name: content.read() for name, content in members if content}


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.rstrip()


if __name__ == "__main__":
    sys.exit(main())
