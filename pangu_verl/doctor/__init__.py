"""The doctor: what stands between this machine and a run, and what to do about it.

    findings   ``Finding``: one thing looked at; ``describe``: the table for a terminal
    versions   installed distributions against the set that a target supports
    boot       whether our plugins boot in a driver and in a Ray worker, and what verl lacks
    hooks      the plugins of pangu_verl, as this process loads them
    machine    cores, memory, disk, shared memory, open files
    devices    number formats of a CPU, NVIDIA's cards; ``ascend``: NPUs; ``visible``: the variables that hide cards
    sandbox    the layers that guard what code rewards run
    child      asks other programs, within a time, and believes nothing unread

Invariants: ``examine`` never raises for what it examines; a look that fails is an "unknown" with the reason. It shows
nothing, starts nothing that outlives it, and repairs nothing. Whatever may end a process is done in another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omegaconf import DictConfig

from pangu_verl.doctor import boot, devices, hooks, machine, sandbox, versions
from pangu_verl.doctor.findings import Finding, Status, describe
from pangu_verl.errors import PanguError, first_line
from pangu_verl.integrations.verl import configuration
from pangu_verl.integrations.verl.config_lint import Target, lint

__all__ = ["Finding", "Status", "Target", "describe", "examine"]

_BACKENDS: dict[Target, str] = {"cpu": "cpu", "cuda": "cuda", "npu": "npu_fsdp"}
_BACKEND_KEY = "backend="


def examine(target: Target, overrides: Sequence[str] = (), *, config_name: str = "ppo") -> list[Finding]:
    """Everything looked at for a run of ``config_name`` with Hydra ``overrides`` on ``target``.

    Takes up to a minute, most of it in starting a small Ray. Composing sets the backend's environment variables in this
    process, as a run would.
    """
    backend, overrides = _backend(target, overrides)
    config, findings = _composed(config_name, overrides, backend, target)
    looks: dict[str, Callable[[], list[Finding]]] = {
        "versions": lambda: versions.examine(target, backend),
        "boot": lambda: boot.examine(target),
        "hooks": hooks.examine,
        "machine": lambda: machine.examine(target),
        "devices": lambda: devices.examine(target),
        "sandbox": sandbox.examine,
    }
    for name, look in looks.items():
        findings += _guarded(name, look)
    if config is not None:
        findings += _guarded("traps", lambda: _traps(config, target))
    return findings


def _backend(target: Target, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """The backend that the overrides name, else the target's own, and the overrides with it."""
    named = [override.removeprefix(_BACKEND_KEY) for override in overrides if override.startswith(_BACKEND_KEY)]
    if named:
        return named[-1], list(overrides)
    return _BACKENDS[target], [*overrides, f"{_BACKEND_KEY}{_BACKENDS[target]}"]


def _composed(
    config_name: str, overrides: Sequence[str], backend: str, target: Target
) -> tuple[DictConfig | None, list[Finding]]:
    name = "configuration"
    try:
        config = configuration.compose(config_name, overrides)
    except PanguError as error:
        return None, [Finding(name=name, status="problem", found=str(error), advice="correct the override or the key")]
    except Exception as error:  # noqa: BLE001 - what else may be wrong is still looked at
        return None, [_failed(name, error)]
    if backend.partition("_")[0] != target:
        advice = f"examine it with --target {backend.partition('_')[0]}, or choose backend={_BACKENDS[target]}"
        found = f"backend={backend} is for other hardware than {target}"
        return config, [Finding(name=name, status="problem", found=found, advice=advice)]
    return config, [Finding(name=name, status="ok", found=f"{config_name} with backend={backend} composes")]


def _traps(config: DictConfig, target: Target) -> list[Finding]:
    traps = lint(config, target)
    if not traps:
        return [Finding(name="traps", status="ok", found="none of the known traps")]
    return [
        Finding(name=trap.name, status=trap.status, found=trap.found, advice=trap.advice, source=trap.source)
        for trap in traps
    ]


def _guarded(name: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - a look that fails must not end the others
        return [_failed(name, error)]


def _failed(name: str, error: Exception) -> Finding:
    return Finding(
        name=name,
        status="unknown",
        found=f"could not be looked at: {type(error).__name__}: {first_line(error)}",
        advice="a fault of the doctor: tell its authors, with this line",
    )
