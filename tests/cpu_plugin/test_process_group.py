"""The one patch of verl: installed once, for the verl it was made for, and only while verl needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import verl
from pangu_verl_cpu.platform import PlatformCPU
from pangu_verl_cpu.process_group import allow_cpu
from verl.utils import distributed

NAME = "initialize_global_process_group_ray"


def upstream_function() -> Callable[..., None]:
    """verl's own, also where this process runs with the patch."""
    function = getattr(distributed, NAME)
    return getattr(function, "__wrapped__", function)


@pytest.fixture(autouse=True)
def unpatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """verl as it comes, on a CPU."""
    monkeypatch.setattr(distributed, NAME, upstream_function())
    monkeypatch.setattr(distributed, "get_device_name", lambda: PlatformCPU().device_name)
    monkeypatch.setattr(distributed, "get_nccl_backend", lambda: PlatformCPU().communication_backend_name())


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What torch is asked for, in place of starting it."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda **options: calls.append(options))
    return calls


def test_verl_still_needs_the_patch(asked_for: list[dict[str, Any]]) -> None:
    """Fails when verl no longer names the CPU twice: then the patch can go."""
    getattr(distributed, NAME)()
    assert asked_for[0]["backend"] == "cpu:gloo,cpu:gloo"


def test_torch_still_refuses_a_device_named_twice() -> None:
    """Fails when torch takes what verl asks for: then the patch can go, too."""
    with pytest.raises(ValueError, match="cpu"):
        torch.distributed.distributed_c10d.BackendConfig(torch.distributed.Backend("cpu:gloo,cpu:gloo"))


def test_the_patch_asks_for_the_cpu_once(asked_for: list[dict[str, Any]]) -> None:
    allow_cpu()
    getattr(distributed, NAME)()
    assert asked_for[0]["backend"] == "cpu:gloo"


@pytest.mark.parametrize("backend", ["cpu:gloo", "gloo", "cpu:mpi"])
def test_a_backend_that_is_named_passes_through(backend: str, asked_for: list[dict[str, Any]]) -> None:
    allow_cpu()
    getattr(distributed, NAME)(backend=backend)
    assert asked_for[0]["backend"] == backend


def test_positions_and_the_timeout_pass_through(asked_for: list[dict[str, Any]]) -> None:
    allow_cpu()
    getattr(distributed, NAME)(30, "gloo")
    assert (asked_for[0]["timeout"].total_seconds(), asked_for[0]["backend"]) == (30, "gloo")


def test_the_patched_function_starts_a_group_on_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "DIST_INIT_METHOD": f"file://{tmp_path}/store"}.items():
        monkeypatch.setenv(name, value)
    allow_cpu()
    getattr(distributed, NAME)()
    try:
        tensor = torch.ones(2)
        torch.distributed.all_reduce(tensor)
        assert tensor.tolist() == [1.0, 1.0]
    finally:
        torch.distributed.destroy_process_group()


def test_the_patch_is_installed_once() -> None:
    allow_cpu()
    once = getattr(distributed, NAME)
    allow_cpu()
    assert getattr(distributed, NAME) is once


def test_a_wrapper_of_someone_else_is_not_taken_for_the_patch(
    asked_for: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = upstream_function()

    def wrapper(timeout_second: int | None = None, backend: str | None = None) -> None:
        original(timeout_second, backend)

    wrapper.__wrapped__ = original  # type: ignore[attr-defined]
    monkeypatch.setattr(distributed, NAME, wrapper)
    allow_cpu()
    getattr(distributed, NAME)()
    assert asked_for[0]["backend"] == "cpu:gloo"


@pytest.mark.parametrize("version", ["0.9.0", "0.10.0", "0.10.0.dev0", "1.0"])
def test_another_verl_is_refused_by_its_version(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verl, "__version__", version)
    with pytest.raises(RuntimeError, match=f">=0.9.1,<0.10, found {version}"):
        allow_cpu()
    assert getattr(distributed, NAME) is upstream_function()


@pytest.mark.parametrize("version", ["0.9.1", "0.9.1.post1", "0.9.7"])
def test_the_verl_it_was_made_for_is_taken(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verl, "__version__", version)
    allow_cpu()
    assert getattr(distributed, NAME) is not upstream_function()


def test_changed_parameters_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(timeout_second: int, backend: str, device_id: int) -> None:
        pass

    monkeypatch.setattr(distributed, NAME, changed)
    with pytest.raises(RuntimeError, match=r"'device_id'.*expected \('timeout_second', 'backend'\)"):
        allow_cpu()
    assert getattr(distributed, NAME) is changed
