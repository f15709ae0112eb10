"""Whatever arrives, is paused, cancelled or republished, and when: every request ends once and loses no token."""

from __future__ import annotations

import concurrent.futures
import contextlib
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pangu_verl_cpu.text_engine import Completion, Sampling, TextEngine
from transformers import LlamaForCausalLM

PATIENCE_S = 60.0
LONGEST = 16
PROMPTS = [(3, 4, 5), (6,), (7, 8, 9, 10, 11, 12, 13), (2, 2), (3, 4, 5, 6)]


@dataclass
class Trajectory:
    """A prompt that a client carries through all pauses, as verl's partial rollout does."""

    prompt: tuple[int, ...]
    length: int
    priority: int
    future: Future[Completion] = field(default_factory=Future)
    endings: list[Future[Completion]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    stop_reason: str = ""
    cancelled: bool = False

    def submit(self, engine: TextEngine) -> None:
        sampling = Sampling(max_new_tokens=self.length - len(self.tokens), temperature=0)
        self.future = engine.submit([*self.prompt, *self.tokens], sampling, self.priority)
        self.future.add_done_callback(self.endings.append)

    def take(self) -> None:
        """Keep the tokens of a segment that has ended."""
        with contextlib.suppress(CancelledError):
            completion = self.future.result(PATIENCE_S)
            self.tokens += completion.token_ids
            self.stop_reason = completion.stop_reason

    @property
    def unfinished(self) -> bool:
        return not self.cancelled and self.stop_reason in ("", "aborted") and len(self.tokens) < self.length


requests = st.tuples(st.just("submit"), st.sampled_from(PROMPTS), st.integers(1, LONGEST), st.integers(-2, 2))
commands = st.one_of(
    requests,
    requests,
    st.tuples(st.just("pause"), st.booleans()),
    st.tuples(st.just("resume")),
    st.tuples(st.just("publish"), st.integers(0, 5)),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("await"), st.integers(0, 20)),
)


@pytest.fixture(scope="module")
def whole_sequences(greedy: Callable[..., list[int]]) -> dict[tuple[int, ...], list[int]]:
    return {prompt: greedy(prompt, LONGEST) for prompt in PROMPTS}


def play(engine: TextEngine, program: list[tuple[Any, ...]]) -> list[Trajectory]:
    """Run the program, then carry on until no trajectory is unfinished."""
    trajectories: list[Trajectory] = []
    paused = False
    for name, *arguments in program:
        chosen = (
            trajectories[arguments[0] % len(trajectories)] if trajectories and name in ("cancel", "await") else None
        )
        if name == "submit":
            trajectories.append(Trajectory(*arguments))
            trajectories[-1].submit(engine)
        elif name == "pause":
            engine.pause(reject=arguments[0])
            paused = True
        elif name == "resume":
            engine.resume()
            paused = False
        elif name == "publish":
            engine.change_weights(lambda _: None, arguments[0])
        elif name == "cancel" and chosen is not None:
            chosen.cancelled = chosen.future.cancel()
        elif name == "await" and chosen is not None and not paused:
            concurrent.futures.wait([chosen.future], timeout=PATIENCE_S)
    engine.resume()
    for trajectory in trajectories:
        trajectory.take()
        while trajectory.unfinished:
            trajectory.submit(engine)
            trajectory.take()
    return trajectories


@settings(max_examples=60, deadline=None)
@given(
    program=st.lists(commands, min_size=1, max_size=25),
    max_rows=st.sampled_from([1, 2, 3, 16]),
    max_prefill_tokens=st.sampled_from([1, 10, 512]),
    end_token=st.sampled_from([None, 1, 7, 20]),
)
def test_every_trajectory_is_what_greedy_would_have_made(
    shared_model: LlamaForCausalLM,
    whole_sequences: dict[tuple[int, ...], list[int]],
    program: list[tuple[Any, ...]],
    max_rows: int,
    max_prefill_tokens: int,
    end_token: int | None,
) -> None:
    ends = [] if end_token is None else [end_token]
    settings_of_engine = {"max_rows": max_rows, "max_prefill_tokens": max_prefill_tokens, "seed": 0}
    engine = TextEngine(shared_model, eos_token_ids=ends, pad_token_id=0, **settings_of_engine)  # type: ignore[arg-type]
    try:
        trajectories = play(engine, program)
    finally:
        engine.close()
    statistics = engine.statistics()

    for trajectory in trajectories:
        whole = whole_sequences[trajectory.prompt][: trajectory.length]
        if end_token in whole:
            whole = whole[: whole.index(end_token) + 1]
        if trajectory.cancelled:
            assert whole[: len(trajectory.tokens)] == trajectory.tokens
        else:
            assert trajectory.tokens == whole
        assert trajectory.future in trajectory.endings
        assert len(trajectory.endings) == len(set(map(id, trajectory.endings)))

    ended = sum(len(trajectory.endings) for trajectory in trajectories)
    assert statistics.completed_requests + statistics.aborted_requests == ended
    assert statistics.failed_requests == 0
    assert statistics.generated_tokens >= sum(len(trajectory.tokens) for trajectory in trajectories)
