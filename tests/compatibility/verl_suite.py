"""Runs verl's own CPU tests that ship in its wheel, with our plugins and without, and compares them test by test.

Ends with 0 only if every test has the same outcome both times and at least ``LEAST_PASSED`` passed.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

#: What passed when this comparison was first written down.
LEAST_PASSED = 431

_TIMEOUT_S = 1_500


def outcomes(plugins: str, folder: Path) -> dict[str, tuple[str, str]]:
    """Outcome and reason of each test, under ``VERL_USE_EXTERNAL_PLUGINS=plugins``."""
    report = folder / f"{plugins}.xml"
    here = Path(__file__).parent
    command = [
        *(sys.executable, "-m", "pytest", str(_suite()), "-q", f"--junitxml={report}"),
        *("-o", "python_files=*_on_cpu.py", "-o", "addopts=", "--asyncio-mode=auto", "--import-mode=importlib"),
        *("-p", "logical_cores", "-p", "no:cacheprovider", "--timeout=300", f"--rootdir={folder}", "-c", os.devnull),
    ]
    environment = {
        **os.environ,
        "VERL_USE_EXTERNAL_PLUGINS": plugins,
        "PYTHONPATH": str(here),
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    with (folder / f"{plugins}.log").open("w") as log:
        subprocess.run(command, stdout=log, stderr=log, cwd=folder, env=environment, timeout=_TIMEOUT_S, check=False)
    return {_name(case): _outcome(case) for case in ElementTree.parse(report).iter("testcase")}


def _suite() -> Path:
    spec = importlib.util.find_spec("verl")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parents[1] / "tests"


def _name(case: ElementTree.Element) -> str:
    return f"{case.get('classname')}::{case.get('name')}"


def _outcome(case: ElementTree.Element) -> tuple[str, str]:
    for kind in ("failure", "error", "skipped"):
        found = case.find(kind)
        if found is not None:
            return kind, " ".join((found.get("message") or "").split())[:120]
    return "passed", ""


def main() -> int:
    """Print the comparison; returns the exit code."""
    with tempfile.TemporaryDirectory() as scratch:
        without = outcomes("none", Path(scratch))
        with_ours = outcomes("auto", Path(scratch))
    different = [name for name in sorted(without | with_ours) if _kind(without, name) != _kind(with_ours, name)]
    for name in different:
        print(f"differs: {name}: {without.get(name)} without our plugins, {with_ours.get(name)} with them")
    for name, (kind, reason) in sorted(with_ours.items()):
        if kind != "passed":
            print(f"{kind}: {name}: {reason}")
    passed = sum(kind == "passed" for kind, _ in with_ours.values())
    print(f"verl's own CPU tests: {len(with_ours)} run, {passed} passed with our plugins, {len(different)} differ")
    if passed < LEAST_PASSED:
        print(f"fewer than the {LEAST_PASSED} that passed when this was written down")
    return int(bool(different) or passed < LEAST_PASSED)


def _kind(outcome_by_name: dict[str, tuple[str, str]], name: str) -> str:
    return outcome_by_name.get(name, ("absent", ""))[0]


if __name__ == "__main__":
    sys.exit(main())
