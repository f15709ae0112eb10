"""The server as a real Ray actor, configured as verl does it and called as verl calls it."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hydra
import pytest
import ray
import torch
from omegaconf import DictConfig
from pangu_verl_cpu import registrations
from pangu_verl_cpu.rollout import CPUReplica, CPUServerAdapter
from pangu_verl_cpu.server import CPUServer, model_dtype
from pangu_verl_cpu.weights import buckets
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from verl.workers.rollout.base import get_rollout_class
from verl.workers.rollout.replica import RolloutReplicaRegistry

from pangu_verl.quickstart.tiny import make_tiny_model

PATIENCE_S = 120.0
PROMPT = list(b"17 + 25 = ?")
GREEDY = {"temperature": 0, "max_tokens": 20}
LONG = {"temperature": 0, "max_tokens": 450}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny", lessons=0)


@pytest.fixture(scope="module")
def reference(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def config(folder: Path) -> DictConfig:
    """verl's own configuration, composed by Hydra."""
    overrides = {
        "model.path": folder,
        "rollout.name": "pangu_cpu",
        "rollout.dtype": "float32",
        "rollout.tensor_model_parallel_size": 1,
        "rollout.prompt_length": 32,
        "rollout.response_length": 40,
        "rollout.max_num_seqs": 2,
    }
    with hydra.initialize_config_module("verl.trainer.config", version_base=None):
        return hydra.compose("ppo_trainer", [f"actor_rollout_ref.{key}={value}" for key, value in overrides.items()])


@ray.remote(num_cpus=0)
class Worker:
    """Where verl's worker would be: it tells the replica on which node to start."""


@pytest.fixture(scope="module")
def replica(cluster: None, config: DictConfig) -> CPUReplica:
    whole = config.actor_rollout_ref
    replica = CPUReplica(replica_rank=0, config=whole.rollout, model_config=whole.model, gpus_per_node=1)
    replica.workers = [Worker.remote()]  # type: ignore[attr-defined]
    asyncio.run(replica.launch_servers())
    return replica


@pytest.fixture(scope="module")
def server(replica: CPUReplica) -> Any:
    return replica.server_handle


@pytest.fixture(scope="module")
def local_server(config: DictConfig) -> Any:
    """The server's class in this process, without its actor."""
    whole = config.actor_rollout_ref
    return CPUServer.__ray_metadata__.modified_class(whole.rollout, whole.model, 0)  # type: ignore[attr-defined]


@pytest.fixture
def adapter(server: Any, config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> CPUServerAdapter:
    monkeypatch.setenv("RANK", "0")
    return CPUServerAdapter(config.actor_rollout_ref.rollout, config.actor_rollout_ref.model, device_mesh=None)


def get(reference: Any) -> Any:
    return ray.get(reference, timeout=PATIENCE_S)


def start(server: Any, prompt: list[int] = PROMPT, parameters: dict[str, Any] = GREEDY, **more: Any) -> Any:
    return server.generate.remote(prompt_ids=prompt, sampling_params=parameters, request_id="a request", **more)


def await_a_token(server: Any, made_before: int) -> None:
    while get(server.statistics.remote())["generated_tokens"] == made_before:
        pass


def start_and_meanwhile(server: Any, act: Callable[[], Any], caught: Callable[[Any], bool]) -> tuple[Any, Any]:
    """A long generation and what ``act`` returned while it ran. On a busy machine the generation may have ended first,
    which ``caught`` tells; then there is another attempt."""
    for _ in range(20):
        made_before = get(server.statistics.remote())["generated_tokens"]
        future = start(server, parameters=LONG)
        await_a_token(server, made_before)
        result = act()
        if caught(future):
            return future, result
        get(server.resume_generation.remote())
    pytest.fail("the server generates faster than it is asked")


def generated(model: PreTrainedModel, prompt: list[int], length: int) -> list[int]:
    made = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)), max_new_tokens=length, do_sample=False
    )
    return [int(token) for token in made[0, len(prompt) :]]


async def bucket_references(model: PreTrainedModel) -> list[Any]:
    async def weights() -> AsyncIterator[tuple[str, torch.Tensor]]:
        for name_and_tensor in model.state_dict().items():
            yield name_and_tensor

    return [ray.put(bucket) async for bucket in buckets(weights(), bucket_bytes=100_000)]


def publish(server: Any, model: PreTrainedModel, version: int) -> int:
    get(server.update_weights.remote(asyncio.run(bucket_references(model)), version))
    return version


# Generation


def test_greedy_is_what_transformers_generates(server: Any, reference: PreTrainedModel) -> None:
    output = get(start(server))
    assert output.token_ids == generated(reference, PROMPT, 20)
    assert output.stop_reason in ("completed", "length")


def test_log_probs_are_those_of_a_plain_pass(server: Any, reference: PreTrainedModel, plain_log_probs: Any) -> None:
    output = get(start(server, parameters={"temperature": 1.0, "top_p": 1.0, "top_k": -1, "logprobs": True}))
    assert output.log_probs == pytest.approx(plain_log_probs(reference, PROMPT, output.token_ids), abs=1e-4)


def test_without_a_limit_the_response_length_holds(server: Any, reference: PreTrainedModel) -> None:
    assert get(start(server, parameters={"temperature": 0})).token_ids == generated(reference, PROMPT, 40)


def test_a_prompt_above_its_length_leaves_less_for_the_response(server: Any, reference: PreTrainedModel) -> None:
    output = get(start(server, prompt=[3] * 60, parameters={"temperature": 0}))
    assert output.token_ids == generated(reference, [3] * 60, 12)


@pytest.mark.parametrize("name", ["image_data", "video_data", "audio_data", "mm_processor_kwargs"])
def test_what_is_not_text_is_refused_by_name(name: str, server: Any) -> None:
    with pytest.raises(ray.exceptions.RayTaskError, match=f"text alone, got {name}"):
        get(start(server, **{name: ["something"]}))


def test_an_unknown_sampling_parameter_is_refused_by_name(server: Any) -> None:
    with pytest.raises(ray.exceptions.RayTaskError, match="unknown sampling parameter 'min_p'"):
        get(start(server, parameters={"min_p": 0.1}))


def test_more_positions_than_the_model_has_are_refused_by_name(server: Any) -> None:
    with pytest.raises(ray.exceptions.RayTaskError, match="exceeds the model's 512 positions"):
        get(start(server, parameters={"max_tokens": 510}))


def test_priority_reaches_the_engine(local_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    submit, priorities = local_server._engine.submit, []

    def record(prompt_ids: Any, sampling: Any, priority: int) -> Any:
        priorities.append(priority)
        return submit(prompt_ids, sampling, priority)

    monkeypatch.setattr(local_server._engine, "submit", record)
    for more in ({}, {"priority": -3}):
        asyncio.run(local_server.generate(PROMPT, GREEDY, "a request", **more))
    assert priorities == [0, -3]


# Abort and resume


def test_abort_returns_partial_tokens_and_resume_goes_on(server: Any, reference: PreTrainedModel) -> None:
    future, answer = start_and_meanwhile(
        server,
        lambda: get(server.abort_all_requests.remote(reset_prefix_cache=True)),
        caught=lambda future: get(future).stop_reason == "aborted",
    )
    first = get(future)
    assert answer == {"aborted_count": 1, "request_ids": []}
    assert (first.stop_reason, 1 <= len(first.token_ids) < 450) == ("aborted", True)
    later = start(server, [*PROMPT, *first.token_ids], {"temperature": 0, "max_tokens": 20})
    assert ray.wait([later], timeout=0.2)[0] == []
    get(server.resume_generation.remote())
    assert first.token_ids + get(later).token_ids == generated(reference, PROMPT, len(first.token_ids) + 20)


def test_rejecting_ends_requests_that_come_later(server: Any) -> None:
    get(server.abort_all_requests.remote(reject_request=True))
    output = get(start(server))
    get(server.resume_generation.remote())
    assert (output.stop_reason, output.token_ids) == ("aborted", [])


# Weights


def test_published_weights_are_used_and_their_version_is_stamped(server: Any, reference: PreTrainedModel) -> None:
    other = AutoModelForCausalLM.from_config(reference.config, dtype=torch.float32)
    publish(server, other, 7)
    output = get(start(server))
    publish(server, reference, 8)
    again = get(start(server))
    assert output.token_ids == generated(other, PROMPT, 20) != again.token_ids
    assert (output.extra_fields, again.extra_fields) == ({"global_steps": 7}, {"global_steps": 8})


def test_a_segment_over_two_versions_bears_the_smaller(server: Any, reference: PreTrainedModel) -> None:
    publish(server, reference, 20)
    versions = itertools.count(21)
    future, published = start_and_meanwhile(
        server,
        lambda: publish(server, reference, next(versions)),
        caught=lambda future: not ray.wait([future], timeout=0)[0],
    )
    assert get(future).extra_fields["global_steps"] == published - 1


def test_weights_that_do_not_fit_are_refused_and_change_nothing(server: Any, reference: PreTrainedModel) -> None:
    publish(server, reference, 30)
    references = asyncio.run(bucket_references(reference))
    with pytest.raises(ray.exceptions.RayTaskError, match="the trainer sent no weights for"):
        get(server.update_weights.remote(references[:-1], 31))
    output = get(start(server))
    assert (output.token_ids, output.extra_fields["global_steps"]) == (generated(reference, PROMPT, 20), 30)


def test_the_version_can_be_set_without_weights(server: Any) -> None:
    get(server.set_global_steps.remote(40))
    assert get(start(server)).extra_fields["global_steps"] == 40


# The adapter in the trainer's worker


def test_the_adapter_finds_its_server_and_publishes(
    adapter: CPUServerAdapter, server: Any, reference: PreTrainedModel
) -> None:
    other = AutoModelForCausalLM.from_config(reference.config, dtype=torch.float32)
    asyncio.run(adapter.update_weights(iter(other.state_dict().items()), global_steps=50))
    output = get(start(server))
    asyncio.run(adapter.update_weights(iter(reference.state_dict().items()), global_steps=51))
    assert output.token_ids == generated(other, PROMPT, 20)
    assert output.extra_fields["global_steps"] == 50


def test_the_adapter_sends_in_the_servers_type(adapter: CPUServerAdapter, reference: PreTrainedModel) -> None:
    """And not in that of the trainer, which may have twice the bytes."""
    published: list[Any] = []

    async def record(references: list[Any], global_steps: int) -> None:
        published.extend([ray.get(references), global_steps])

    adapter._server = SimpleNamespace(update_weights=SimpleNamespace(remote=record))  # type: ignore[assignment]
    sent = [(name, tensor.double()) for name, tensor in reference.state_dict().items()]
    asyncio.run(adapter.update_weights(iter(sent), global_steps=52))
    received, version = published
    assert {entry.dtype for bucket in received for entry in bucket.entries} == {"float32"}
    assert ([entry.name for bucket in received for entry in bucket.entries], version) == ([n for n, _ in sent], 52)


def test_another_wire_format_is_refused_by_name(adapter: CPUServerAdapter) -> None:
    with pytest.raises(ValueError, match="wire_format 'named_tensors', got 'delta_flush'"):
        asyncio.run(adapter.update_weights(iter([]), wire_format="delta_flush"))


def test_resume_and_release_are_accepted(adapter: CPUServerAdapter) -> None:
    asyncio.run(adapter.resume(["weights", "kv_cache"]))
    asyncio.run(adapter.release())


@pytest.mark.parametrize(("replica_rank", "rank"), [(-1, 3), (2, 2)])
def test_an_adapter_serves_the_replica_of_its_rank_unless_told(
    replica_rank: int, rank: int, config: DictConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "3")
    whole = config.actor_rollout_ref
    adapter = CPUServerAdapter(whole.rollout, whole.model, device_mesh=None, replica_rank=replica_rank)
    assert (adapter.replica_rank, adapter.is_leader_rank) == (rank, True)


def test_verl_finds_replica_and_adapter_by_name() -> None:
    name = registrations.ROLLOUT_NAME
    assert (RolloutReplicaRegistry.get(name), get_rollout_class(name, "async")) == (CPUReplica, CPUServerAdapter)


def test_a_replica_refuses_what_it_cannot_do_before_anything_starts(config: DictConfig) -> None:
    changed = config.actor_rollout_ref.copy()
    changed.rollout.tensor_model_parallel_size = 2
    with pytest.raises(ValueError, match=r"rollout\.tensor_model_parallel_size=1, got 2"):
        CPUReplica(replica_rank=0, config=changed.rollout, model_config=changed.model, gpus_per_node=2)


# The rest of verl's interface


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("wake_up", {}),
        ("wake_up", {"tags": ["weights"]}),
        ("sleep", {}),
        ("clear_kv_cache", {}),
        ("release_kv_cache", {}),
        ("resume_kv_cache", {}),
        ("start_profile", {"role": "rollout", "profile_step": 3}),
        ("stop_profile", {}),
    ],
)
def test_what_a_cpu_has_no_use_for_is_accepted(method: str, arguments: dict[str, Any], server: Any) -> None:
    assert get(getattr(server, method).remote(**arguments)) is None


def test_statistics_tell_tokens_time_and_version(server: Any) -> None:
    before = get(server.statistics.remote())
    output = get(start(server))
    after = get(server.statistics.remote())
    grown = {name for name in before if name != "version" and after[name] > before[name]}
    assert grown == {"busy_s", "idle_s", "prompt_tokens", "generated_tokens", "completed_requests"}
    assert after["generated_tokens"] - before["generated_tokens"] == len(output.token_ids)


def test_the_checksum_is_that_of_the_weights(server: Any) -> None:
    assert get(server.weights_checksum.remote()) == get(server.weights_checksum.remote())
    assert len(get(server.weights_checksum.remote())) == 16


def test_end_tokens_are_those_of_the_model_and_of_the_tokenizer(
    local_server: Any, reference: PreTrainedModel, folder: Path
) -> None:
    end = AutoTokenizer.from_pretrained(folder).eos_token_id
    found = []
    for declared in (None, end, 17, [17, 18]):
        reference.generation_config.eos_token_id = declared
        found.append(local_server._eos_token_ids(reference))
    reference.generation_config.eos_token_id = end
    assert found == [[end], [end], [17, end], [17, 18, end]]


def test_a_model_without_generation_config_is_served(folder: Path, config: DictConfig, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").unlink()
    changed = config.actor_rollout_ref.copy()
    changed.model.path = str(tmp_path)
    server = CPUServer.__ray_metadata__.modified_class(changed.rollout, changed.model, 0)  # type: ignore[attr-defined]
    assert asyncio.run(server.generate(PROMPT, GREEDY, "a request")).token_ids


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("bfloat16", torch.bfloat16), ("bf16", torch.bfloat16), ("float32", torch.float32), ("fp32", torch.float32)],
)
def test_the_types_that_verl_names_are_known(name: str, dtype: torch.dtype) -> None:
    assert model_dtype(name) is dtype


@pytest.mark.parametrize(("processor_has_it", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_what_the_processor_multiplies_in(
    processor_has_it: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: processor_has_it)
    assert model_dtype("auto") is dtype


def test_an_unknown_type_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"rollout\.dtype='float16' \(known: auto, bfloat16"):
        model_dtype("float16")
