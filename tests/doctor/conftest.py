"""Fakes for the doctor's tests: programs on PATH, and questions that get a chosen answer. No device is needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from doctor_fakes import Answering, Program

from pangu_verl.doctor.child import Answer


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def write(name: str, script: str) -> None:
        file = folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    return write


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    def replace(module: object, answer: Answer) -> list[list[str]]:
        asked: list[list[str]] = []

        def ask(command: Sequence[str], timeout_s: float) -> Answer:
            assert timeout_s > 0
            asked.append(list(command))
            return answer

        monkeypatch.setattr(module, "ask", ask)
        return asked

    return replace
