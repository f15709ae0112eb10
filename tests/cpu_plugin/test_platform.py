"""The platform: whatever verl asks of a device has an answer."""

from __future__ import annotations

import inspect
import types
from typing import Any

import psutil
import pytest
import torch
from pangu_verl_cpu import platform
from pangu_verl_cpu.platform import PlatformCPU
from verl.plugin.platform import PlatformBase, PlatformRegistry


@pytest.fixture
def cpu() -> PlatformCPU:
    return PlatformCPU()


@pytest.mark.parametrize("name", sorted(PlatformBase.__abstractmethods__))
def test_every_question_of_verl_has_an_answer(name: str) -> None:
    assert name in vars(PlatformCPU)


@pytest.mark.parametrize("name", sorted(PlatformBase.__abstractmethods__))
def test_every_answer_takes_what_verl_gives(name: str) -> None:
    asked, answered = inspect.getattr_static(PlatformBase, name), inspect.getattr_static(PlatformCPU, name)
    if isinstance(asked, property):
        assert isinstance(answered, property)
    else:
        kinds = [(p.name, p.default) for p in inspect.signature(answered).parameters.values()]
        assert kinds == [(p.name, p.default) for p in inspect.signature(asked).parameters.values()]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("set_device", (0,)),
        ("synchronize", ()),
        ("synchronize", (0,)),
        ("manual_seed", (1,)),
        ("manual_seed_all", (1,)),
        ("set_allocator_settings", ("expandable_segments:True",)),
        ("empty_cache", ()),
        ("profiler_start", ()),
        ("profiler_stop", ()),
        ("cudart", ()),
    ],
)
def test_what_a_cpu_has_no_use_for_is_accepted(name: str, arguments: tuple[Any, ...], cpu: PlatformCPU) -> None:
    assert getattr(cpu, name)(*arguments) is None


def test_registering_makes_it_known_to_verl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlatformRegistry, "_platforms", {})
    platform.register()
    assert PlatformRegistry.get("cpu") is PlatformCPU


def test_it_is_never_detected_only_named(cpu: PlatformCPU) -> None:
    assert (cpu.is_available(), cpu.is_platform_available(), cpu.is_platform_available(use_smi_check=True)) == (
        True,
        False,
        False,
    )


def test_the_current_device_is_one_that_tensors_can_go_to(cpu: PlatformCPU) -> None:
    assert torch.ones(1).to(cpu.current_device()).device.type == cpu.device_name == "cpu"


def test_a_seed_makes_torch_repeat_itself(cpu: PlatformCPU) -> None:
    cpu.manual_seed(7)
    first = torch.rand(3)
    cpu.manual_seed_all(7)
    assert torch.equal(first, torch.rand(3))


def test_a_range_for_the_profiler_wraps_a_block(cpu: PlatformCPU) -> None:
    with cpu.nvtx_range("step"):
        pass


def test_ray_counts_places_as_gpus(cpu: PlatformCPU) -> None:
    assert (cpu.ray_resource_name(), cpu.ray_resource_options(2)) == ("GPU", {"num_gpus": 2})


@pytest.fixture
def device(cpu: PlatformCPU) -> types.ModuleType:
    return cpu.device_module


def test_the_state_of_the_generator_is_kept_and_restored(device: types.ModuleType) -> None:
    state = device.get_rng_state()
    first = torch.rand(3)
    device.set_rng_state(state)
    assert torch.equal(first, torch.rand(3))


def test_memory_is_that_of_the_process(device: types.ModuleType) -> None:
    resident = psutil.Process().memory_info().rss
    assert 0.5 * resident < device.memory_allocated() < 2 * resident
    assert device.max_memory_allocated() > 0.5 * resident


def test_free_memory_lies_below_the_total(device: types.ModuleType) -> None:
    free, total = device.mem_get_info()
    assert 0 < free <= total == psutil.virtual_memory().total


@pytest.mark.parametrize("name", ["set_device", "synchronize", "empty_cache", "reset_peak_memory_stats", "ipc_collect"])
def test_silent_functions_take_anything(name: str, device: types.ModuleType) -> None:
    assert getattr(device, name)(0, anything=True) is None
