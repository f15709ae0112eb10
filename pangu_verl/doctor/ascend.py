"""Ascend NPUs: CANN, driver, torch_npu, HCCL, and the cards that are visible.

verl asks some of this itself when the first rollout server starts, and ends the run where it gets no answer; those
questions are put here as verl puts them (``verl/utils/device.py``). Nothing here was run on an NPU by us.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path

from packaging.version import InvalidVersion, Version

from pangu_verl.doctor import visible
from pangu_verl.doctor.child import ask, last_json
from pangu_verl.doctor.findings import Finding

_CANN_TESTED = "9.1"
#: From these on processes can share NPU memory: ``verl/utils/device.py`` ``check_ipc_version_support``.
_SHARING_DRIVER, _SHARING_CANN = Version("25.3rc1"), Version("8.3rc1")
_GUIDE = "https://github.com/verl-project/verl/blob/main/docs/ascend_tutorial/get_start/install_guidance.rst"
_USUAL_HOME = "/usr/local/Ascend/ascend-toolkit/latest"
_RUNNING_VERSION = re.compile(r"^(?:toolkit|runtime)_running_version=\[[^:\]]*:([^\]]+)\]", re.MULTILINE)
_INSTALLED_VERSION = re.compile(r"^version=(\S+)", re.MULTILINE)
_DRIVER_VERSION = re.compile(r"Software Version\s*:\s*(\S+)")
_NUMBERS = re.compile(r"\d+(?:\.\d+)?(?:\.?(?:rc\d+|\d+))?", re.IGNORECASE)
_SMI_TIMEOUT_S = 30.0
_IMPORT_TIMEOUT_S = 180.0
_ASK_NPU = (
    "import json, torch, torch_npu; print('\\n' + json.dumps([torch.npu.is_available(), torch.npu.device_count()]))"
)


def examine() -> list[Finding]:
    """Everything between a Python process and an NPU."""
    home = _home()
    cann = _cann_version(home)
    driver, asked = _driver()
    return [
        _cann(home, cann),
        *([_install_file(home)] if home.is_dir() else []),
        asked,
        _sharing(driver, cann),
        _hccl(home),
        _torch_npu(),
        visible.examine("ASCEND_RT_VISIBLE_DEVICES"),
    ]


def _home() -> Path:
    named = os.environ.get("ASCEND_HOME_PATH") or os.environ.get("ASCEND_TOOLKIT_HOME")
    return Path(named or _USUAL_HOME)


def _install_info(home: Path) -> Path:
    return home / f"{platform.machine()}-linux" / "ascend_toolkit_install.info"


def _cann_version(home: Path) -> str | None:
    for file, pattern in ((home / "version.cfg", _RUNNING_VERSION), (_install_info(home), _INSTALLED_VERSION)):
        try:
            match = pattern.search(file.read_text(errors="replace"))
        except OSError:
            continue
        if match:
            return match.group(1)
    return None


def _cann(home: Path, found: str | None) -> Finding:
    name = "CANN"
    if not home.is_dir():
        return Finding(
            name=name,
            status="problem",
            found=f"no folder {home}, and ASCEND_HOME_PATH names no other",
            advice="install CANN 9.1.0 and source its set_env.sh in this shell",
            source=_GUIDE,
        )
    if not os.environ.get("ASCEND_HOME_PATH"):
        return Finding(
            name=name,
            status="problem",
            found=f"{found or 'some version'} in {home}, and ASCEND_HOME_PATH is not set",
            advice="source CANN's set_env.sh in this shell",
            source=_GUIDE,
        )
    parsed = _parsed(found)
    if found is None or parsed is None:
        return Finding(
            name=name,
            status="unknown",
            found=f"neither version.cfg nor ascend_toolkit_install.info in {home} tells a version",
            advice="make sure that it is 9.1.0",
            source=_GUIDE,
        )
    if f"{parsed.major}.{parsed.minor}" == _CANN_TESTED:
        return Finding(name=name, status="ok", found=f"{found} in {home}")
    return Finding(
        name=name,
        status="warning",
        found=f"{found} in {home}; upstream tests 9.1.0",
        advice="install CANN 9.1.0 with the versions of torch-npu and vllm-ascend named above",
        source=_GUIDE,
    )


def _install_file(home: Path) -> Finding:
    name, file = "CANN as verl reads it", _install_info(home)
    if file.is_file():
        return Finding(name=name, status="ok", found=str(file))
    return Finding(
        name=name,
        status="problem",
        found=f"there is no {file}, from which verl reads the version; the first rollout worker ends without it",
        advice="let ASCEND_HOME_PATH name the toolkit's folder (…/ascend-toolkit/latest)",
        source="verl 0.9.1, utils/device.py:280",
    )


def _driver() -> tuple[str | None, Finding]:
    """The driver's version, asked for as verl does: of card 1, else of the first of ASCEND_VISIBLE_DEVICES."""
    name = "npu-smi"
    listing = ask(["npu-smi", "info"], _SMI_TIMEOUT_S)
    if listing.trouble:
        advice = "install the driver (HDK 26.0.rc1); in a container, hand in /dev/davinci* and the driver's folder"
        return None, Finding(name=name, status="problem", found=listing.reason, advice=advice, source=_GUIDE)
    first = os.environ.get("ASCEND_VISIBLE_DEVICES", "").split(",")[0].strip()
    cards = ["1", *([first, str(int(first) // 2)] if first.isdecimal() else [])]
    for card in cards:
        board = ask(["npu-smi", "info", "-t", "board", "-i", card], _SMI_TIMEOUT_S)
        match = _DRIVER_VERSION.search(board.output)
        if not board.trouble and match:
            return match.group(1), Finding(name=name, status="ok", found=f"driver {match.group(1)}")
    return None, Finding(
        name=name,
        status="problem",
        found=f"answers, and says nothing of card {' or '.join(cards)}, which verl asks for in each rollout worker",
        advice="set ASCEND_VISIBLE_DEVICES to the numbers of the cards that are there",
        source="https://github.com/verl-project/verl/issues/6756",
    )


def _sharing(driver: str | None, cann: str | None) -> Finding:
    name = "NPU memory between processes"
    parsed = [_parsed(driver), _parsed(cann)]
    if parsed[0] is None or parsed[1] is None:
        return Finding(
            name=name,
            status="unknown",
            found="needs the versions of driver and CANN",
            advice="see to npu-smi and CANN first",
        )
    if parsed[0] >= _SHARING_DRIVER and parsed[1] >= _SHARING_CANN:
        return Finding(name=name, status="ok", found="can be shared")
    return Finding(
        name=name,
        status="warning",
        found=f"cannot be shared with driver {driver} and CANN {cann}: weights go through /dev/shm, more slowly",
        advice="install driver 25.3.rc1 and CANN 8.3.RC1 or later",
        source="verl 0.9.1, workers/rollout/vllm_rollout/vllm_rollout.py:143",
    )


def _parsed(text: str | None) -> Version | None:
    """The first three parts: "25.3.rc1.2" is 25.3rc1, "25.5.t3.b001" is 25.5."""
    match = _NUMBERS.match(text or "")
    try:
        return Version(match.group(0)) if match else None
    except InvalidVersion:
        return None


def _hccl(home: Path) -> Finding:
    name = "HCCL"
    folders = [home / "lib64", *map(Path, filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)))]
    for folder in folders:
        if (folder / "libhccl.so").is_file():
            return Finding(name=name, status="ok", found=str(folder / "libhccl.so"))
    return Finding(
        name=name,
        status="problem",
        found="no libhccl.so in CANN's lib64 or on LD_LIBRARY_PATH; torch_npu cannot be imported without it",
        advice="source CANN's set_env.sh in this shell",
        source=_GUIDE,
    )


def _torch_npu() -> Finding:
    name = "torch_npu"
    answer = ask([sys.executable, "-P", "-c", _ASK_NPU], _IMPORT_TIMEOUT_S)
    if answer.trouble:
        return Finding(
            name=name,
            status="problem",
            found=f"was imported in a process of its own: {answer.reason}",
            advice="source CANN's set_env.sh, and install the torch-npu that belongs to this torch",
            source=_GUIDE,
        )
    match last_json(answer.output):
        case [True, int(count)] if count > 0:
            return Finding(name=name, status="ok", found=f"{count} NPUs")
    return Finding(
        name=name,
        status="problem",
        found="is there and sees no NPU",
        advice="look at ASCEND_RT_VISIBLE_DEVICES and at 'npu-smi info'",
        source="https://github.com/verl-project/verl/blob/main/docs/ascend_tutorial/faq/faq.rst",
    )
