"""Types of what the doctor's tests put in the place of programs and machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pangu_verl.doctor import Finding
from pangu_verl.doctor.child import Answer

#: Puts a shell script of a name on PATH.
Program = Callable[[str, str], None]
#: Lets every question of a module get one answer; returns the commands that were asked.
Answering = Callable[[object, Answer], list[list[str]]]

FINE = Answer("", "", "")
Key = TypeVar("Key")


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    """Findings by what they are of."""
    return {finding.name: finding for finding in findings}


def statuses(findings: dict[Key, Finding]) -> set[str]:
    """Every status among ``findings``."""
    return {finding.status for finding in findings.values()}
