"""The CPU as a verl platform, chosen by ``VERL_PLATFORM=cpu`` and never by detection.

Ray counts a worker's place as a logical "GPU" resource, because verl's placement groups know no other; a run asks Ray
for as many as it has workers. Memory figures are those of the process.
"""

from __future__ import annotations

import resource
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry


def register() -> None:
    """Tell verl's registry of this platform."""
    PlatformRegistry.register(platform="cpu")(PlatformCPU)


def _resident_bytes(*_: Any, **__: Any) -> int:
    return int(psutil.Process().memory_info().rss)


def _peak_resident_bytes(*_: Any, **__: Any) -> int:
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


def _free_and_total_bytes(*_: Any, **__: Any) -> tuple[int, int]:
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _device_module() -> types.ModuleType:
    """What verl expects of ``torch.cuda``; ``torch.cpu`` lacks most of it."""
    functions: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: torch.device("cpu"),
        "get_device_name": lambda *_: "CPU",
        "manual_seed": torch.manual_seed,
        "manual_seed_all": torch.manual_seed,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda state, *_: torch.set_rng_state(state),
        "memory_allocated": _resident_bytes,
        "memory_reserved": _resident_bytes,
        "max_memory_allocated": _peak_resident_bytes,
        "max_memory_reserved": _peak_resident_bytes,
        "mem_get_info": _free_and_total_bytes,
    }
    silent = ("set_device", "synchronize", "empty_cache", "reset_peak_memory_stats", "ipc_collect")
    module = types.ModuleType("pangu_verl_cpu.device")
    vars(module).update(functions, **dict.fromkeys(silent, _nothing))
    return module


class PlatformCPU(PlatformBase):
    """verl's questions about a device, answered for the CPU."""

    _module = _device_module()

    @property
    def device_name(self) -> str:
        return "cpu"

    @property
    def vendor_name(self) -> str:
        return "cpu"

    @property
    def device_module(self) -> types.ModuleType:
        return self._module

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        return False

    def current_device(self) -> torch.device:
        """A device, not an index: verl passes it to ``tensor.to``, where 0 would mean the first CUDA card."""
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        return None

    def synchronize(self, device_index: int | None = None) -> None:
        return None

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        return None

    def empty_cache(self) -> None:
        return None

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        return None

    def profiler_stop(self) -> None:
        return None

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_resource_options(self, num_gpus: float) -> dict[str, Any]:
        return {"num_gpus": num_gpus}

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None:
        return None
