"""What the engine's own thread does between steps for those who call, and before all else."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from engine_requests import OTHER_PROMPT, PATIENCE_S, PROMPT, Greedy, MakeEngine, greedy_sampling
from pangu_verl_cpu.text_engine import EngineError
from transformers import LlamaForCausalLM


def test_before_work_comes_first_in_the_thread_that_computes(make_engine: MakeEngine, model: LlamaForCausalLM) -> None:
    calls: list[tuple[str, threading.Thread]] = []
    model.register_forward_pre_hook(lambda *_: calls.append(("step", threading.current_thread())))
    engine = make_engine(before_work=lambda: calls.append(("before", threading.current_thread())))
    engine.submit(PROMPT, greedy_sampling(3)).result(PATIENCE_S)
    names, threads = zip(*calls, strict=True)
    assert (names[0], set(names[1:])) == ("before", {"step"})
    assert len(set(threads)) == 1 and threads[0] is not threading.current_thread()


def test_before_work_comes_before_an_errand(make_engine: MakeEngine) -> None:
    calls: list[str] = []
    make_engine(before_work=lambda: calls.append("before")).change_weights(lambda _: calls.append("change"), 1)
    assert calls == ["before", "change"]


def test_before_work_that_fails_is_raised_to_who_made_the_engine(make_engine: MakeEngine) -> None:
    with pytest.raises(ZeroDivisionError):
        make_engine(before_work=lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert not any(thread.name == "text-engine" for thread in threading.enumerate())


def test_weights_change_in_the_thread_that_computes(make_engine: MakeEngine) -> None:
    threads: list[threading.Thread] = []
    engine = make_engine(before_work=lambda: threads.append(threading.current_thread()))
    engine.change_weights(lambda _: threads.append(threading.current_thread()), 1)
    assert threads[0] is threads[1]


def test_weights_change_without_gradients_and_stay_ordinary_tensors(make_engine: MakeEngine) -> None:
    """Tensors made in inference mode could not be written to in a later change."""
    modes: list[tuple[bool, bool]] = []
    engine = make_engine()
    engine.change_weights(lambda _: modes.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled())), 1)
    assert modes == [(False, False)]


def test_the_engine_takes_requests_of_other_threads_while_weights_change(
    make_engine: MakeEngine, greedy: Greedy, in_thread: Any
) -> None:
    engine, futures = make_engine(), []

    def change(_: Any) -> None:
        submitting = in_thread(lambda: futures.append(engine.submit(OTHER_PROMPT, greedy_sampling(5))))
        submitting.join(PATIENCE_S)
        assert not submitting.is_alive()

    engine.change_weights(change, 1)
    assert futures[0].result(PATIENCE_S).token_ids == greedy(OTHER_PROMPT, 5)


def test_a_failing_change_leaves_requests_in_flight_alone(
    make_engine: MakeEngine, gate: Any, greedy: Greedy, in_thread: Any
) -> None:
    engine, raised = make_engine(), []

    def change_in_vain() -> None:
        with pytest.raises(ZeroDivisionError) as caught:
            engine.change_weights(lambda _: 1 / 0, 1)  # type: ignore[arg-type, return-value]
        raised.append(caught.type)

    future = engine.submit(PROMPT, greedy_sampling(20))
    gate.await_pass(2)
    gate.let_pass_until(in_thread(change_in_vain))
    gate.open()
    assert future.result(PATIENCE_S).token_ids == greedy(PROMPT, 20)
    assert raised == [ZeroDivisionError]


def test_a_paused_engine_changes_weights(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.pause()
    engine.change_weights(lambda _: None, 7)
    assert engine.version == 7


def test_a_closed_engine_refuses_new_weights_by_name(make_engine: MakeEngine) -> None:
    engine, changes = make_engine(), []
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.change_weights(changes.append, 1)
    assert (changes, engine.version) == ([], None)


@pytest.mark.parametrize("reject", [False, True])
def test_a_closed_engine_has_nothing_to_pause(reject: bool, make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.close()
    assert engine.pause(reject=reject) == 0


def test_new_weights_that_meet_a_close_are_taken_or_refused(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    """Whichever of the two calls comes first, both return."""
    engine, outcomes = make_engine(), []

    def change() -> None:
        try:
            engine.change_weights(lambda _: None, 7)
        except EngineError as error:
            outcomes.append((str(error), engine.version))
        else:
            outcomes.append(("taken", engine.version))

    engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(2)
    changing, closing = in_thread(change), in_thread(engine.close)
    gate.let_pass_until(closing)
    changing.join(PATIENCE_S)
    assert outcomes in ([("taken", 7)], [("the engine is closed", None)])
