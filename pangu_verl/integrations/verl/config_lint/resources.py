"""Ray's logical processors: where they run out, verl waits for ever and says nothing."""

from __future__ import annotations

from omegaconf import DictConfig

from pangu_verl.integrations.verl.config_lint.trap import UPSTREAM, VERL, Rule, Target, Trap
from pangu_verl.integrations.verl.processors import (
    PROCESSORS_KEY,
    STORAGE_UNITS_KEY,
    processors_held,
    processors_offered,
    storage_units,
)


def logical_processors(config: DictConfig, target: Target) -> Trap | None:
    """TransferQueue's controller and storage units hold one processor each, the devices' placement groups more."""
    held, offered = processors_held(config), processors_offered(config)
    needed = sum(held.values())
    if offered is None or needed <= offered:
        return None
    queue = held["TransferQueue"]
    stuck = "TransferQueue" if queue > offered else "the trainer, a reward worker or an agent-loop worker"
    return Trap(
        name="ray_init.num_cpus",
        status="problem",
        found=f"Ray has {offered} logical processors and the run holds {needed}, {queue} of them for TransferQueue "
        f"({STORAGE_UNITS_KEY}={storage_units(config)}): {stuck} waits for ever",
        advice=f"set {PROCESSORS_KEY}={needed} (for Ray's bookkeeping; it may exceed the cores), or fewer "
        f"{STORAGE_UNITS_KEY}",
        source=f"{UPSTREAM}/issues/7398; {UPSTREAM}/issues/7656; {VERL}, single_controller/ray/base.py:192",
    )


RULES: tuple[Rule, ...] = (logical_processors,)
