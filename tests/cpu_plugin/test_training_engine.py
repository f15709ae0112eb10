"""The engine that trains: verl's own log-probabilities, entropies and gradients, from fewer scores."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from pangu_verl_cpu import threads
from pangu_verl_cpu.platform import PlatformCPU
from pangu_verl_cpu.training.attention import PACKED_ATTENTION
from pangu_verl_cpu.training.engine import CPUEngine
from tensordict import TensorDict
from transformers import LlamaForCausalLM
from verl.utils import tensordict_utils, torch_functional
from verl.workers.engine import base
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
from verl.workers.utils.padding import no_padding_2_padding, response_from_nested

# Scores are read in float32, and so are the weights of the attention: measured 1e-6,
# and 6e-6 for gradients.
TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4

PROMPTS = [[3, 4, 5], [8], [3, 4, 5], [8], [9, 10, 11, 12]]
RESPONSES = [[6, 7], [9, 10, 11, 12], [13], [2, 2, 3], [4, 5]]
#: Of the last token of the first response and of a middle one verl's loss sees nothing.
MASKS = [[1, 0], [1, 0, 1, 1], [1], [1, 1, 1], [1, 1]]


def nested(rows: list[Any]) -> torch.Tensor:
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


def micro_batch(*, without: tuple[str, ...] = (), temperature: Any = 1.0, **settings: Any) -> TensorDict:
    """As verl's V1 trainer makes them: rows without padding, settings beside them."""
    sequences = [prompt + response for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    tensors = {
        "input_ids": nested(sequences),
        "position_ids": nested([list(range(len(sequence))) for sequence in sequences]),
        "prompts": nested(PROMPTS),
        "responses": nested(RESPONSES),
        "response_mask": nested(MASKS),
        "loss_mask": nested(MASKS),
    }
    if isinstance(temperature, torch.Tensor):
        tensors["temperature"] = temperature
    else:
        settings["temperature"] = temperature
    for name in without:
        del tensors[name]
    return tensordict_utils.get_tensordict(tensors, non_tensor_dict=settings)


def engine_of(kind: type[FSDPEngineWithLMHead], module: LlamaForCausalLM, remove_padding: bool) -> FSDPEngineWithLMHead:
    """With what these two methods read, without process groups."""
    engine = object.__new__(kind)
    engine.module = module
    engine.use_remove_padding = remove_padding
    engine.use_ulysses_sp = engine.pad_to_length = False
    engine.compute_entropy_from_logits = torch_functional.entropy_from_logits
    engine.engine_config = types.SimpleNamespace(
        entropy_checkpointing=False, entropy_from_logits_with_chunking=False, use_fused_kernels=False
    )
    return engine


@pytest.fixture(scope="module")
def cpu_engine(make_llama: Callable[..., LlamaForCausalLM]) -> CPUEngine:
    return engine_of(CPUEngine, make_llama(torch.float64, attn_implementation=PACKED_ATTENTION), remove_padding=True)


@pytest.fixture(scope="module")
def verl_engine(make_llama: Callable[..., LlamaForCausalLM]) -> FSDPEngineWithLMHead:
    """verl's for a model with padding, which needs nothing of ours."""
    model = make_llama(torch.float64, attn_implementation="eager")
    return engine_of(FSDPEngineWithLMHead, model, remove_padding=False)


def run(engine: FSDPEngineWithLMHead, batch: TensorDict) -> dict[str, torch.Tensor]:
    """As ``forward_step``."""
    tensordict_utils.assign_non_tensor(batch, use_remove_padding=engine.use_remove_padding)
    inputs, output_arguments = engine.prepare_model_inputs(batch)
    return engine.prepare_model_outputs(engine.module(**inputs, use_cache=False), output_arguments, batch, None)


def of_responses(outputs: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    return no_padding_2_padding(outputs[name], micro_batch())


TEMPERATURES = [1.0, 0.6, torch.tensor([1.0, 0.5, 2.0, 0.7, 1.3])]


@pytest.mark.parametrize("temperature", TEMPERATURES, ids=["unit", "one", "per row"])
@pytest.mark.parametrize("name", ["log_probs", "entropy"])
def test_the_responses_have_what_verl_finds(
    name: str, temperature: Any, cpu_engine: CPUEngine, verl_engine: FSDPEngineWithLMHead
) -> None:
    found, expected = (
        of_responses(run(engine, micro_batch(temperature=temperature, calculate_entropy=True)), name)
        for engine in (cpu_engine, verl_engine)
    )
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0, check_dtype=False)


def test_verls_other_reader_finds_the_same_places(cpu_engine: CPUEngine, verl_engine: FSDPEngineWithLMHead) -> None:
    found, expected = (
        response_from_nested(run(engine, micro_batch())["log_probs"], nested(MASKS)).values()
        for engine in (cpu_engine, verl_engine)
    )
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0, check_dtype=False)


@pytest.mark.parametrize("name", ["log_probs", "entropy"])
def test_the_gradients_of_a_masked_loss_are_verls(
    name: str, cpu_engine: CPUEngine, verl_engine: FSDPEngineWithLMHead
) -> None:
    mask = nested(MASKS).to_padded_tensor(0)
    weights = torch.linspace(-1, 1, mask.numel()).view(mask.shape) * mask
    gradients = []
    for engine in (cpu_engine, verl_engine):
        outputs = run(engine, micro_batch(temperature=0.8, calculate_entropy=True))
        loss = (of_responses(outputs, name) * weights).sum()
        names, parameters = zip(*engine.module.named_parameters(), strict=True)
        gradients.append(dict(zip(names, torch.autograd.grad(loss, parameters), strict=True)))
    torch.testing.assert_close(*gradients, atol=GRADIENT_TOLERANCE, rtol=0)


def test_entropy_is_found_only_if_asked_for(cpu_engine: CPUEngine) -> None:
    assert list(run(cpu_engine, micro_batch())) == ["log_probs"]


def test_outputs_have_an_entry_per_token_of_the_micro_batch(cpu_engine: CPUEngine) -> None:
    batch = micro_batch()
    assert torch.equal(run(cpu_engine, batch)["log_probs"].offsets(), batch["input_ids"].offsets())


def test_entries_of_prompts_are_zero(cpu_engine: CPUEngine) -> None:
    rows = run(cpu_engine, micro_batch())["log_probs"].unbind()
    assert [int((row != 0).sum()) for row in rows] == [len(response) for response in RESPONSES]


def test_the_vocabulary_is_scored_once_per_token_of_a_response(cpu_engine: CPUEngine) -> None:
    inputs, _ = cpu_engine.prepare_model_inputs(micro_batch())
    assert cpu_engine.module(**inputs, use_cache=False).logits.shape[1] == sum(map(len, RESPONSES))


def test_a_prompt_that_rows_share_goes_in_once(cpu_engine: CPUEngine) -> None:
    inputs, _ = cpu_engine.prepare_model_inputs(micro_batch())
    assert inputs["input_ids"].shape == (1, 3 + 1 + 4 + sum(map(len, RESPONSES)))


# What goes verl's own way


@pytest.mark.parametrize("name", ["log_probs", "entropy"])
def test_without_responses_every_token_has_what_verl_finds(
    name: str, cpu_engine: CPUEngine, verl_engine: FSDPEngineWithLMHead
) -> None:
    missing = ("prompts", "responses")
    found, expected = (
        run(engine, micro_batch(without=missing, temperature=0.6, calculate_entropy=True))[name].values()
        for engine in (cpu_engine, verl_engine)
    )
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0, check_dtype=False)


def test_padded_responses_go_verls_way(cpu_engine: CPUEngine, verl_engine: FSDPEngineWithLMHead) -> None:
    """As in ``left_right_2_no_padding``, which leaves them padded."""
    outputs = []
    for engine in (cpu_engine, verl_engine):
        batch = micro_batch(without=("prompts", "responses"))
        batch["responses"] = nested(RESPONSES).to_padded_tensor(0)
        outputs.append(run(engine, batch)["log_probs"].values())
    torch.testing.assert_close(*outputs, atol=TOLERANCE, rtol=0, check_dtype=False)


@pytest.mark.parametrize(
    "setting", ["use_fused_kernels", "calculate_sum_pi_squared", "distillation_use_topk", "distillation_only"]
)
def test_what_needs_all_scores_gets_whole_sequences(setting: str, cpu_engine: CPUEngine) -> None:
    batch = micro_batch(**{setting: True})
    inputs, output_arguments = cpu_engine.prepare_model_inputs(batch)
    assert "logits_to_keep" not in inputs
    assert torch.equal(inputs["input_ids"][0], batch["input_ids"].values())
    assert "input_ids_rmpad_rolled" in output_arguments


def test_the_sum_of_squared_probabilities_is_verls(cpu_engine: CPUEngine, verl_engine: FSDPEngineWithLMHead) -> None:
    found, expected = (
        run(engine, micro_batch(calculate_sum_pi_squared=True))["sum_pi_squared"].values()
        for engine in (cpu_engine, verl_engine)
    )
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0, check_dtype=False)


def test_fused_kernels_keep_their_arguments(cpu_engine: CPUEngine) -> None:
    inputs, _ = cpu_engine.prepare_model_inputs(micro_batch(use_fused_kernels=True, temperature=0.6))
    assert (inputs["temperature"], inputs["shift_labels"].shape) == (0.6, inputs["input_ids"].shape)


def test_the_log_probabilities_of_fused_kernels_are_read_by_verl(cpu_engine: CPUEngine) -> None:
    batch = micro_batch(use_fused_kernels=True)
    _, output_arguments = cpu_engine.prepare_model_inputs(batch)
    made = types.SimpleNamespace(log_probs=torch.arange(float(batch["input_ids"].values().numel()))[None])
    outputs = cpu_engine.prepare_model_outputs(made, output_arguments, batch, None)
    assert torch.equal(outputs["log_probs"].values(), made.log_probs[0])


def test_with_padding_it_is_verls_engine(make_llama: Any, verl_engine: FSDPEngineWithLMHead) -> None:
    engine = engine_of(CPUEngine, verl_engine.module, remove_padding=False)
    found, expected = (run(each, micro_batch())["log_probs"].values() for each in (engine, verl_engine))
    assert torch.equal(found, expected)


# How verl comes to it


@pytest.mark.parametrize("backend", ["fsdp", "fsdp2"])
def test_verl_takes_it_for_language_models_on_a_cpu(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERL_ENGINE_DEVICE", raising=False)
    monkeypatch.delenv("VERL_ENGINE_VENDOR", raising=False)
    monkeypatch.setattr(base, "get_device_name", lambda: PlatformCPU().device_name)
    monkeypatch.setattr(base, "get_vendor", lambda: PlatformCPU().vendor_name)
    assert base.EngineRegistry.get_engine_cls("language_model", backend) is CPUEngine


def test_it_claims_the_threads_before_each_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(threads, "claim", lambda: calls.append("claim"))
    monkeypatch.setattr(
        FSDPEngineWithLMHead, "forward_backward_batch", lambda _, *args, **kwargs: calls.append((args, kwargs))
    )
    engine = object.__new__(CPUEngine)
    for batch in (1, 2):
        engine.forward_backward_batch(batch, None, forward_only=True)
    assert calls == ["claim", ((1, None), {"forward_only": True}), "claim", ((2, None), {"forward_only": True})]
