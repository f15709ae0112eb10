"""Tiny models, engines that are closed after the test, and a gate that lets an engine take one forward pass at a time.

The models that decide what is right are in float64, so that a batched pass and a plain one agree on every greedy token.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from pangu_verl_cpu.text_engine import TextEngine
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

PATIENCE_S = 60.0
EOS, PAD, VOCABULARY, POSITIONS = 1, 0, 24, 64


class Gate:
    """Stops every forward pass of a model until it is let through, unless ``open``."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.passes = 0
        self._arrived, self._allowed = threading.Semaphore(0), threading.Semaphore(0)
        self._is_open = False
        self._hook = model.register_forward_pre_hook(self._stop_here)

    def _stop_here(self, *_: Any) -> None:
        self.passes += 1
        self._arrived.release()
        if not self._is_open:
            self._allowed.acquire(timeout=PATIENCE_S)

    def await_pass(self, number: int = 1) -> None:
        """Return when the engine stands before its next pass, having let it through the ``number - 1`` before."""
        for remaining in reversed(range(number)):
            assert self._arrived.acquire(timeout=PATIENCE_S), "the engine began no forward pass"
            if remaining:
                self._allowed.release()

    def let_pass_until(self, thread: threading.Thread) -> int:
        """Let passes through one by one until ``thread`` has ended; returns their number."""
        number = 0
        while thread.is_alive():
            self._allowed.release()
            number += 1
            thread.join(timeout=0.1)
        return number

    def stands_still(self, for_s: float = 0.2) -> bool:
        """Whether no pass begins in this time, those apart that stand here already."""
        while self._arrived.acquire(blocking=False):
            pass
        return not self._arrived.acquire(timeout=for_s)

    def open(self) -> None:
        self._is_open = True
        self._allowed.release(1000)

    def remove(self) -> None:
        self.open()
        self._hook.remove()


def _llama(dtype: torch.dtype, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.4,
        "bos_token_id": None,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "attn_implementation": "sdpa",
    }
    return LlamaForCausalLM(LlamaConfig(**(settings | changes))).to(dtype).eval()


@pytest.fixture(scope="session")
def make_llama() -> Callable[..., LlamaForCausalLM]:
    return _llama


@pytest.fixture(scope="session")
def shared_model() -> LlamaForCausalLM:
    return _llama(torch.float64)


@pytest.fixture
def model(shared_model: LlamaForCausalLM) -> LlamaForCausalLM:
    """A model of the test's own, always with the same weights."""
    return copy.deepcopy(shared_model)


@pytest.fixture
def gate(model: LlamaForCausalLM) -> Iterator[Gate]:
    gate = Gate(model)
    yield gate
    gate.remove()


@pytest.fixture
def make_engine(model: LlamaForCausalLM) -> Iterator[Callable[..., TextEngine]]:
    """Builds engines, without end token unless given one, and closes them after the test."""
    engines: list[TextEngine] = []

    def make(of: PreTrainedModel | None = None, **changes: Any) -> TextEngine:
        settings = {"eos_token_ids": [], "pad_token_id": PAD, "max_rows": 4, "max_prefill_tokens": 512, "seed": 0}
        engines.append(TextEngine(model if of is None else of, **(settings | changes)))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture(scope="session")
def greedy(shared_model: LlamaForCausalLM) -> Callable[..., list[int]]:
    """What transformers generates greedily."""

    def generate(prompt: Sequence[int], max_new_tokens: int, eos_token_id: int | None = None) -> list[int]:
        made = shared_model.generate(
            torch.tensor([list(prompt)]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=eos_token_id,
            pad_token_id=PAD,
        )
        return [int(token) for token in made[0, len(prompt) :]]

    return generate


@pytest.fixture(scope="session")
def plain_log_probs() -> Callable[..., list[float]]:
    """Log-probabilities of ``tokens`` after ``prompt`` by one forward pass without cache, padding or batch."""

    def score(model: PreTrainedModel, prompt: Sequence[int], tokens: Sequence[int]) -> list[float]:
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *tokens]]), use_cache=False).logits[0, len(prompt) - 1 : -1]
        return [float(row[token]) for row, token in zip(logits.log_softmax(dim=-1), tokens, strict=True)]

    return score


@pytest.fixture
def in_thread() -> Iterator[Callable[[Callable[[], Any]], threading.Thread]]:
    """Starts a function in a thread that the test does not outlive; returns when the thread is about to call it."""
    threads: list[threading.Thread] = []

    def start(function: Callable[[], Any]) -> threading.Thread:
        calling = threading.Event()

        def call() -> None:
            calling.set()
            function()

        threads.append(threading.Thread(target=call, daemon=True))
        threads[-1].start()
        assert calling.wait(PATIENCE_S)
        return threads[-1]

    yield start
    for thread in threads:
        thread.join(timeout=PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of the module's own, whatever else runs on the machine."""
    import ray

    variables = {"VERL_PLATFORM": "cpu", "OMP_NUM_THREADS": "1"}
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": variables},
    )
    yield
    ray.shutdown()
