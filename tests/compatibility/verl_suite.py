"""Runs verl's own CPU tests that ship in its wheel, with our plugins and without, and compares them test by test.

Ends with 0 only if every test has the same outcome both times and at least ``LEAST_PASSED`` passed. The wheel leaves out
the tests of the V1 trainers: with ``VERL_CHECKOUT=folder`` those of a checkout run too, on the verl of that checkout.
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
_V1_TESTS = Path("tests", "trainer", "ppo", "v1")

Outcomes = dict[str, tuple[str, str]]


def outcomes(plugins: str, suite: Path, checkout: Path | None, folder: Path) -> Outcomes:
    """Outcome and reason of each test of ``suite``, on the verl of ``checkout`` or else the installed one.

    ``plugins`` is verl's ``VERL_USE_EXTERNAL_PLUGINS``.
    """
    report = folder / f"{plugins}.xml"
    here = Path(__file__).parent
    command = [
        *(sys.executable, "-m", "pytest", str(suite), "-q", f"--junitxml={report}"),
        *("-o", "python_files=*_on_cpu.py", "-o", "addopts=", "--asyncio-mode=auto", "--import-mode=importlib"),
        *("-p", "logical_cores", "-p", "no:cacheprovider", "--timeout=300", f"--rootdir={folder}", "-c", os.devnull),
    ]
    environment = {
        **os.environ,
        "VERL_USE_EXTERNAL_PLUGINS": plugins,
        "PYTHONPATH": os.pathsep.join(map(str, [here, checkout] if checkout else [here])),
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


def compared(name: str, suite: Path, checkout: Path | None, least_passed: int) -> bool:
    """Print the comparison; whether all is as it should be."""
    with tempfile.TemporaryDirectory() as scratch:
        without = outcomes("none", suite, checkout, Path(scratch))
        with_ours = outcomes("auto", suite, checkout, Path(scratch))
    different = [test for test in sorted(without | with_ours) if _kind(without, test) != _kind(with_ours, test)]
    for test in different:
        print(f"differs: {test}: {without.get(test)} without our plugins, {with_ours.get(test)} with them")
    for test, (kind, reason) in sorted(with_ours.items()):
        if kind != "passed":
            print(f"{kind}: {test}: {reason}")
    passed = sum(kind == "passed" for kind, _ in with_ours.values())
    print(f"{name}: {len(with_ours)} run, {passed} passed with our plugins, {len(different)} differ")
    if passed < least_passed:
        print(f"fewer than the {least_passed} that are to pass")
    return not different and passed >= least_passed


def main() -> int:
    """Print the comparisons; returns the exit code."""
    given = os.environ.get("VERL_CHECKOUT")
    checkout = Path(given).resolve() if given else None
    if checkout and not (checkout / _V1_TESTS).is_dir():
        print(f"VERL_CHECKOUT={given} has no folder {_V1_TESTS}; give the top folder of a clone of verl")
        return 2
    is_right = compared("verl's own CPU tests", _suite(), None, LEAST_PASSED)
    if checkout:
        is_right &= compared(f"{_V1_TESTS} of the checkout", checkout / _V1_TESTS, checkout, least_passed=1)
    return int(not is_right)


def _kind(outcome_by_name: Outcomes, name: str) -> str:
    return outcome_by_name.get(name, ("absent", ""))[0]


if __name__ == "__main__":
    sys.exit(main())
