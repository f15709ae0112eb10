"""Steering the engine: pause, resume, new weights, cancelled and failing requests, closing."""

from __future__ import annotations

import concurrent.futures
import math
from typing import Any

import pytest
import torch
from engine_requests import OTHER_PROMPT, PATIENCE_S, PROMPT, Greedy, MakeEngine, greedy_sampling
from pangu_verl_cpu.text_engine import Completion, EngineError, Sampling, TextEngine
from transformers import LlamaForCausalLM


def assert_serves(engine: TextEngine, greedy: Greedy) -> None:
    completion = engine.submit(OTHER_PROMPT, greedy_sampling(5)).result(PATIENCE_S)
    assert completion.token_ids == greedy(OTHER_PROMPT, 5)


# Pause and resume


def test_pause_returns_the_tokens_made_so_far(
    make_engine: MakeEngine, gate: Any, greedy: Greedy, in_thread: Any
) -> None:
    engine = make_engine()
    future = engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(5)
    gate.let_pass_until(in_thread(engine.pause))
    completion = future.result(0)
    assert completion.stop_reason == "aborted"
    assert 4 <= len(completion.token_ids) < 60
    assert completion.token_ids == greedy(PROMPT, 60)[: len(completion.token_ids)]


def test_pause_during_a_prefill_ends_what_is_being_prefilled(
    make_engine: MakeEngine, gate: Any, in_thread: Any
) -> None:
    engine, counts = make_engine(), []
    future = engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass()
    gate.let_pass_until(in_thread(lambda: counts.append(engine.pause())))
    assert future.done()
    assert (counts, future.result(0).stop_reason) == ([1], "aborted")


def test_no_token_is_made_after_pause_has_returned(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    engine = make_engine()
    engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(3)
    gate.let_pass_until(in_thread(engine.pause))
    engine.submit(PROMPT, greedy_sampling(5))
    assert gate.stands_still()


def test_pause_keeps_requests_that_have_no_token_yet(
    make_engine: MakeEngine, gate: Any, greedy: Greedy, in_thread: Any
) -> None:
    engine = make_engine(max_rows=1)
    running, waiting = (engine.submit(prompt, greedy_sampling(60 - len(prompt))) for prompt in (PROMPT, OTHER_PROMPT))
    gate.await_pass(2)
    gate.let_pass_until(in_thread(engine.pause))
    assert (running.done(), waiting.done()) == (True, False)
    gate.open()
    engine.resume()
    assert waiting.result(PATIENCE_S).token_ids == greedy(OTHER_PROMPT, 58)


def test_pause_returns_the_number_of_requests_it_ended(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    engine, counts = make_engine(max_rows=2), []
    engine.pause()
    for _ in range(3):
        engine.submit(PROMPT, greedy_sampling(60))
    engine.resume()
    gate.await_pass(2)
    gate.let_pass_until(in_thread(lambda: counts.append(engine.pause())))
    assert [*counts, engine.pause(), engine.pause(reject=True)] == [2, 0, 1]


def test_rejecting_ends_what_runs_and_what_waits(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    engine, counts = make_engine(max_rows=1), []
    running, waiting = (engine.submit(PROMPT, greedy_sampling(60)) for _ in range(2))
    gate.await_pass(3)
    gate.let_pass_until(in_thread(lambda: counts.append(engine.pause(reject=True))))
    assert counts == [2]
    assert [future.result(0).stop_reason for future in (running, waiting)] == ["aborted", "aborted"]
    assert waiting.result(0).token_ids == []


def test_rejecting_ends_later_requests_at_once_and_without_tokens(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.pause(reject=True)
    completion = engine.submit(PROMPT, Sampling(max_new_tokens=5, with_log_probs=True)).result(0)
    assert completion == Completion(token_ids=[], log_probs=[], stop_reason="aborted", version=None)


def test_a_pause_without_rejecting_lifts_the_rejection(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.pause(reject=True)
    engine.pause()
    assert not engine.submit(PROMPT, greedy_sampling(5)).done()


@pytest.mark.parametrize("reject", [False, True])
def test_resume_serves_again(reject: bool, make_engine: MakeEngine, greedy: Greedy) -> None:
    engine = make_engine()
    engine.pause(reject=reject)
    engine.resume()
    assert_serves(engine, greedy)


def test_resume_without_pause_does_nothing(make_engine: MakeEngine, greedy: Greedy) -> None:
    engine = make_engine()
    engine.resume()
    assert_serves(engine, greedy)


def test_a_segment_continued_after_resume_is_what_greedy_would_have_made(
    make_engine: MakeEngine, gate: Any, greedy: Greedy, in_thread: Any
) -> None:
    engine = make_engine()
    future = engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(4)
    gate.let_pass_until(in_thread(engine.pause))
    first = future.result(0).token_ids
    gate.open()
    engine.resume()
    rest = engine.submit([*PROMPT, *first], greedy_sampling(60 - len(first))).result(PATIENCE_S)
    assert first + rest.token_ids == greedy(PROMPT, 60)


def test_a_finished_row_that_has_not_left_is_not_ended_twice(
    make_engine: MakeEngine, gate: Any, greedy: Greedy, in_thread: Any
) -> None:
    """Rows leave a batch of 16 in lots of 2: the short one is done and still in the batch when the pause comes."""
    engine, counts = make_engine(max_rows=16), []
    engine.pause()
    short = engine.submit(PROMPT, greedy_sampling(1))
    futures = [engine.submit(PROMPT, greedy_sampling(60)) for _ in range(15)]
    engine.resume()
    gate.await_pass(4)
    gate.let_pass_until(in_thread(lambda: counts.append(engine.pause())))
    assert counts == [15]
    assert (short.result(0).stop_reason, {f.result(0).stop_reason for f in futures}) == ("length", {"aborted"})
    assert len(short.result(0).token_ids) == 1
    gate.open()
    engine.resume()
    assert_serves(engine, greedy)


def test_aborted_requests_are_counted(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    engine = make_engine(max_rows=1)
    running = engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(3)
    gate.let_pass_until(in_thread(lambda: engine.pause(reject=True)))
    engine.submit(PROMPT, greedy_sampling(60))
    statistics = engine.statistics()
    assert (statistics.completed_requests, statistics.aborted_requests) == (0, 2)
    assert statistics.generated_tokens == len(running.result(0).token_ids)


# Weights and versions


def test_weights_do_not_change_during_a_step(make_engine: MakeEngine, model: LlamaForCausalLM) -> None:
    stepping: list[bool] = []
    found: list[bool] = []
    model.register_forward_pre_hook(lambda *_: stepping.append(True))
    model.register_forward_hook(lambda *_: stepping.clear())
    engine = make_engine()
    future = engine.submit(PROMPT, greedy_sampling(60))
    for version in range(20):
        engine.change_weights(lambda _: found.append(bool(stepping)), version)
    future.result(PATIENCE_S)
    assert found == [False] * 20


def test_no_step_begins_while_weights_change(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    engine = make_engine()
    engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(2)
    still: list[bool] = []

    def change(_: Any) -> None:
        engine.submit(OTHER_PROMPT, greedy_sampling(5))  # wakes the engine's thread
        still.append(gate.stands_still())

    gate.let_pass_until(in_thread(lambda: engine.change_weights(change, 1)))
    assert still == [True]


def test_new_weights_wait_for_one_step_at_most(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    engine = make_engine()
    future = engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(2)
    gate.let_pass_until(in_thread(lambda: engine.change_weights(lambda _: None, 1)))
    assert not future.done()
    assert gate.passes < 30  # two, one more, and one for each tenth of a second that the calling thread lay idle


def test_new_weights_are_used_from_the_next_token_on(
    make_engine: MakeEngine, model: LlamaForCausalLM, plain_log_probs: Any
) -> None:
    def scale(to_change: Any) -> None:
        to_change.lm_head.weight.mul_(0.5)

    engine = make_engine()
    engine.change_weights(scale, 1)
    completion = engine.submit(PROMPT, Sampling(max_new_tokens=8, with_log_probs=True)).result(PATIENCE_S)
    assert completion.log_probs == pytest.approx(plain_log_probs(model, PROMPT, completion.token_ids), abs=1e-5)


def test_two_changes_do_not_overlap(make_engine: MakeEngine, in_thread: Any) -> None:
    engine, inside, overlaps = make_engine(), [], []

    def change(_: Any) -> None:
        overlaps.append(bool(inside))
        inside.append(1)
        sum(range(100_000))
        inside.pop()

    threads = [in_thread(lambda: engine.change_weights(change, 1)) for _ in range(8)]
    for thread in threads:
        thread.join(PATIENCE_S)
    assert overlaps == [False] * 8


def test_requests_may_arrive_while_weights_change(make_engine: MakeEngine, greedy: Greedy) -> None:
    engine, futures = make_engine(), []
    engine.change_weights(lambda _: futures.append(engine.submit(OTHER_PROMPT, greedy_sampling(5))), 1)
    assert futures[0].result(PATIENCE_S).token_ids == greedy(OTHER_PROMPT, 5)


def test_a_failing_change_is_raised_and_leaves_the_version(make_engine: MakeEngine, greedy: Greedy) -> None:
    engine = make_engine()
    engine.change_weights(lambda _: None, 3)
    with pytest.raises(ZeroDivisionError):
        engine.change_weights(lambda _: 1 / 0, 4)  # type: ignore[arg-type, return-value]
    assert engine.version == 3
    assert_serves(engine, greedy)


def test_a_change_without_version_keeps_the_present_one(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.change_weights(lambda _: None, 3)
    engine.change_weights(lambda _: None, None)
    assert engine.version == 3


@pytest.mark.parametrize(
    ("at_start", "at_return", "stamped"),
    [(3, 3, 3), (3, 7, 3), (7, 2, 2), (0, 1, 0), (None, 4, None), (None, None, None)],
)
def test_a_segment_bears_the_smaller_of_its_two_versions(
    at_start: int | None,
    at_return: int | None,
    stamped: int | None,
    make_engine: MakeEngine,
    gate: Any,
    in_thread: Any,
) -> None:
    engine = make_engine()
    engine.change_weights(lambda _: None, at_start)
    future = engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(2)
    gate.let_pass_until(in_thread(lambda: engine.change_weights(lambda _: None, at_return)))
    gate.open()
    assert future.result(PATIENCE_S).version == stamped


def test_an_aborted_segment_bears_the_version_that_made_it(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    engine = make_engine()
    engine.change_weights(lambda _: None, 3)
    future = engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(2)
    gate.let_pass_until(in_thread(engine.pause))
    engine.change_weights(lambda _: None, 4)
    assert future.result(0).version == 3


def test_a_request_that_waited_bears_the_version_that_it_began_with(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.change_weights(lambda _: None, 3)
    engine.pause()
    future = engine.submit(PROMPT, greedy_sampling(5))
    engine.change_weights(lambda _: None, 4)
    engine.resume()
    assert future.result(PATIENCE_S).version == 4


# Requests that are given up or fail


def test_a_cancelled_request_leaves_the_batch_in_order(make_engine: MakeEngine, gate: Any, greedy: Greedy) -> None:
    engine = make_engine()
    engine.pause()
    futures = [engine.submit(prompt, greedy_sampling(20)) for prompt in (PROMPT, OTHER_PROMPT, (8, 9, 10, 11))]
    engine.resume()
    gate.await_pass(3)
    assert futures[1].cancel()
    gate.open()
    assert futures[0].result(PATIENCE_S).token_ids == greedy(PROMPT, 20)
    assert futures[2].result(PATIENCE_S).token_ids == greedy((8, 9, 10, 11), 20)
    assert_serves(engine, greedy)


def test_a_cancelled_request_that_waits_is_never_prefilled(make_engine: MakeEngine, greedy: Greedy) -> None:
    engine = make_engine()
    engine.pause()
    cancelled = engine.submit(PROMPT, greedy_sampling(20))
    cancelled.cancel()
    engine.resume()
    assert_serves(engine, greedy)
    assert engine.statistics().prompt_tokens == len(OTHER_PROMPT)


@pytest.mark.parametrize("running", [True, False], ids=["running", "waiting"])
def test_who_waits_for_several_futures_hears_of_the_cancelled_one(
    running: bool, make_engine: MakeEngine, gate: Any
) -> None:
    engine = make_engine(max_rows=1)
    futures = [engine.submit(PROMPT, greedy_sampling(20)) for _ in range(2)]
    gate.await_pass(2)
    assert futures[0 if running else 1].cancel()
    gate.open()
    assert not concurrent.futures.wait(futures, timeout=PATIENCE_S).not_done


def test_a_pause_counts_and_ends_a_cancelled_request_once(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    engine = make_engine()
    future = engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(2)
    future.cancel()
    gate.let_pass_until(in_thread(engine.pause))
    engine.pause(reject=True)
    statistics = engine.statistics()
    assert (statistics.aborted_requests, statistics.completed_requests) == (1, 0)


@pytest.mark.parametrize("failing_pass", [1, 2, 4], ids=["prefill", "first step", "later step"])
def test_a_failing_forward_reaches_those_in_flight_and_no_others(
    failing_pass: int, make_engine: MakeEngine, model: LlamaForCausalLM, greedy: Greedy
) -> None:
    passes: list[int] = []

    def fail_once(*_: Any) -> None:
        passes.append(1)
        if len(passes) == failing_pass:
            raise RuntimeError("the processor caught fire")

    engine = make_engine(max_rows=2)
    engine.pause()
    in_flight = [engine.submit(prompt, greedy_sampling(20)) for prompt in (PROMPT, (8, 9, 10, 11))]
    waiting = engine.submit(OTHER_PROMPT, greedy_sampling(20))
    model.register_forward_pre_hook(fail_once)
    engine.resume()
    for future in in_flight:
        with pytest.raises(RuntimeError, match="caught fire"):
            future.result(PATIENCE_S)
    assert waiting.result(PATIENCE_S).token_ids == greedy(OTHER_PROMPT, 20)
    assert engine.statistics().failed_requests == 2


def test_a_prefill_that_fails_reaches_the_rows_it_was_to_join(
    make_engine: MakeEngine, model: LlamaForCausalLM, gate: Any, greedy: Greedy
) -> None:
    def fail_on_a_prefill(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        if inputs["input_ids"].shape[1] > 1:
            raise RuntimeError("the processor caught fire")

    engine = make_engine(max_rows=2)
    running = engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(2)
    hook = model.register_forward_pre_hook(fail_on_a_prefill, with_kwargs=True)
    joining = engine.submit(OTHER_PROMPT, greedy_sampling(60))
    gate.open()
    for future in (running, joining):
        with pytest.raises(RuntimeError, match="caught fire"):
            future.result(PATIENCE_S)
    hook.remove()
    assert_serves(engine, greedy)


def test_a_pause_after_a_failure_finds_nothing(make_engine: MakeEngine, model: LlamaForCausalLM) -> None:
    hook = model.register_forward_pre_hook(lambda *_: 1 / 0)
    engine = make_engine()
    with pytest.raises(ZeroDivisionError):
        engine.submit(PROMPT, greedy_sampling(5)).result(PATIENCE_S)
    hook.remove()
    assert engine.pause() == 0


def test_weights_that_are_not_numbers_fail_the_requests_by_name(make_engine: MakeEngine, greedy: Greedy) -> None:
    engine = make_engine()
    kept: list[torch.Tensor] = []

    def spoil(model: Any) -> None:
        kept.append(model.lm_head.weight.clone())
        model.lm_head.weight.fill_(math.nan)

    engine.change_weights(spoil, 1)
    with pytest.raises(EngineError, match="NaN or infinity; are its weights finite"):
        engine.submit(PROMPT, greedy_sampling(5)).result(PATIENCE_S)
    engine.change_weights(lambda model: model.lm_head.weight.copy_(kept[0]), 2)  # type: ignore[union-attr]
    assert_serves(engine, greedy)


def test_a_callback_that_fails_harms_nobody(make_engine: MakeEngine, greedy: Greedy) -> None:
    engine = make_engine()
    future = engine.submit(PROMPT, greedy_sampling(5))
    future.add_done_callback(lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    assert_serves(engine, greedy)


def test_a_callback_may_submit_the_next_request(make_engine: MakeEngine, greedy: Greedy) -> None:
    engine, chained = make_engine(), concurrent.futures.Future()  # type: ignore[var-annotated]
    first = engine.submit(PROMPT, greedy_sampling(5))
    first.add_done_callback(lambda _: chained.set_result(engine.submit(OTHER_PROMPT, greedy_sampling(5))))
    assert chained.result(PATIENCE_S).result(PATIENCE_S).token_ids == greedy(OTHER_PROMPT, 5)


# Closing


def test_close_ends_what_runs_and_what_waits(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    engine = make_engine(max_rows=1)
    futures = [engine.submit(PROMPT, greedy_sampling(60)) for _ in range(2)]
    gate.await_pass(3)
    gate.let_pass_until(in_thread(engine.close))
    assert [future.result(0).stop_reason for future in futures] == ["aborted", "aborted"]
    assert engine.statistics().aborted_requests == 2


def test_a_closed_engine_refuses_requests_by_name(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(PROMPT, greedy_sampling(5))


def test_a_closed_engine_can_be_closed_and_paused_and_resumed(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.close()
    engine.close()
    engine.resume()
    assert engine.pause() == 0


def test_a_paused_engine_can_be_closed(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.pause()
    waiting = engine.submit(PROMPT, greedy_sampling(5))
    engine.close()
    assert waiting.result(0).stop_reason == "aborted"


def test_close_leaves_nothing_waiting_for_a_pause(make_engine: MakeEngine, gate: Any, in_thread: Any) -> None:
    engine = make_engine()
    future = engine.submit(PROMPT, greedy_sampling(60))
    gate.await_pass(2)
    closing, pausing = in_thread(engine.close), in_thread(engine.pause)
    gate.let_pass_until(closing)
    gate.let_pass_until(pausing)
    assert future.result(0).stop_reason == "aborted"
