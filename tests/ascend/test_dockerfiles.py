"""The container files, read as text: there is no container runtime here to build them with."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from example_scripts import REPOSITORY

FOLDER = REPOSITORY / "docker"
FILES = sorted(FOLDER.glob("*.Dockerfile"))
BESIDE_VENDOR = FOLDER / "beside_vendor.py"
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)")
_BUILD_ARGUMENT = re.compile(r"\$\{(\w+)\}")

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
each_vendors_file = pytest.mark.parametrize("name", ["ascend", "cuda"])


def instructions(file: Path) -> list[tuple[str, str]]:
    """Every instruction with its argument on one line, without comments."""
    lines = [line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, argument.strip()) for name, _, argument in (line.partition(" ") for line in joined.splitlines())]


def of(file: Path, name: str) -> list[str]:
    """The arguments of every instruction ``name``."""
    return [argument for found, argument in instructions(file) if found == name]


def defaults(file: Path) -> dict[str, str]:
    """The build arguments with what they are unless told."""
    return dict(argument.split("=", 1) for argument in of(file, "ARG"))


def images(file: Path) -> list[str]:
    """The images that a file stands on, with the build arguments filled in."""
    found = [argument.split()[0] for argument in of(file, "FROM")]
    return [_BUILD_ARGUMENT.sub(lambda match: defaults(file)[match[1]], name) for name in found]


def test_there_is_a_file_for_each_hardware() -> None:
    assert [file.stem for file in FILES] == ["ascend", "cpu", "cuda"]


@each_file
def test_a_file_holds_only_instructions_that_exist(file: Path) -> None:
    known = {"ARG", "CMD", "COPY", "ENV", "FROM", "RUN", "SHELL", "USER", "WORKDIR"}
    assert {name for name, _ in instructions(file)} <= known


@each_file
def test_everything_copied_is_in_the_repository(file: Path) -> None:
    sources = [word for argument in of(file, "COPY") if "--from" not in argument for word in argument.split()[:-1]]
    assert "pangu_verl" in sources
    assert all((REPOSITORY / source).exists() for source in sources)


@each_file
def test_every_image_has_a_tag_that_does_not_float(file: Path) -> None:
    for image in images(file):
        name, _, tag = image.partition(":")
        assert name and re.search(r"\d", tag) and "latest" not in tag and "nightly" not in tag


@each_file
def test_every_variable_is_declared_and_every_declared_one_used(file: Path) -> None:
    used = {name for found, argument in instructions(file) if found != "ARG" for name in _VARIABLE.findall(argument)}
    assert used - {"PATH"} == set(defaults(file))


@each_file
def test_a_file_holds_no_secret(file: Path) -> None:
    text = file.read_text()
    assert not re.search(r"(?i)token(?!izers)|passw|secret|credential|api_?key|-----BEGIN", text)
    assert not re.search(r"://[^\s/]+@|https?://|--trusted-host|--index-url", text)


@each_file
def test_a_file_says_that_it_has_not_been_built(file: Path) -> None:
    assert "not built by us yet" in file.read_text().partition("ARG ")[0]


def test_the_readme_names_every_file_and_what_it_stands_on() -> None:
    text = (FOLDER / "README.md").read_text()
    for file in FILES:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{file.name}` |"))
        start = row.split("|")[2].strip().strip("`").partition("…")[0]
        assert images(file)[0].startswith(start)


# --- the laptop's ----------------------------------------------------------------------------------------------------


def test_the_laptops_image_leaves_the_build_behind_and_runs_the_example_as_a_user() -> None:
    file = FOLDER / "cpu.Dockerfile"
    assert len(of(file, "FROM")) == 2
    assert any("--from=build" in argument for argument in of(file, "COPY"))
    assert of(file, "USER")[-1] not in ("root", "0")
    assert of(file, "CMD") == ['["pangu-verl", "quickstart", "--model", "tiny"]']


def test_the_laptops_image_has_all_that_make_needs() -> None:
    manifests = next(
        line for line in (REPOSITORY / "Makefile").read_text().splitlines() if line.startswith("MANIFESTS")
    )
    sources = [word for argument in of(FOLDER / "cpu.Dockerfile", "COPY") for word in argument.split()[:-1]]
    assert all(any(Path(name).is_relative_to(source) for source in sources) for name in manifests.split()[2:])


# --- the vendors' ----------------------------------------------------------------------------------------------------


def vendor_run(name: str) -> str:
    """The one step that installs."""
    return next(argument for argument in of(FOLDER / f"{name}.Dockerfile", "RUN") if "pip install" in argument)


def beside(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BESIDE_VENDOR), str(REPOSITORY / "pyproject.toml"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@each_vendors_file
def test_what_the_vendor_brings_is_the_constraint_of_what_comes_beside(name: str) -> None:
    run = vendor_run(name)
    brought = run.partition("pyproject.toml ")[2].partition(" >")[0].split()
    answer = beside(*brought)
    assert answer.returncode == 0, answer.stderr
    assert "--constraint /tmp/present.txt --requirement /tmp/beside.txt" in run
    assert "comm -23 /tmp/present.txt -" in run
    installed = [part for part in run.split("&&") if "pip install" in part]
    assert not any(re.search(r"\btorch", part) for part in installed)
    assert "--no-deps" in installed[-1]


def test_the_verl_and_the_transformers_for_cuda_are_those_that_verl_names() -> None:
    run = vendor_run("cuda")
    pins = {line.partition(";")[0].strip() for line in requires("verl") or () if 'extra == "vllm"' in line}
    assert f"verl=={version('verl')}" in run
    assert next(pin for pin in pins if pin.startswith("transformers")) in run
    assert "vllm==0.24.0" in pins and "torch==2.11.0" in pins


def test_the_verl_for_ascend_is_the_one_installed_here() -> None:
    assert f":v{version('verl')}-" in images(FOLDER / "ascend.Dockerfile")[0]


def test_what_the_vendor_brings_is_left_out_whatever_its_spelling() -> None:
    whole, less = beside().stdout.splitlines(), beside("TORCH", "Transferqueue", "math.verify").stdout.splitlines()
    assert {line.split(">")[0] for line in set(whole) - set(less)} == {
        "torch",
        "TransferQueue",
        "math-verify[antlr4-9-3]",
    }


def test_a_package_that_is_not_asked_for_is_refused_by_name() -> None:
    answer = beside("torch", "no-such-package")
    assert answer.returncode != 0
    assert "does not ask for no-such-package (it asks for " in answer.stderr
