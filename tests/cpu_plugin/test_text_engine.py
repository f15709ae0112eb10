"""The engine: what it generates, and in which order requests are served and end."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from pangu_verl_cpu.text_engine import Completion, EngineError, Sampling, TextEngine
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

PATIENCE_S = 60.0
RAGGED = [(3, 4, 5), (6,), (7, 8, 9, 10, 11, 12, 13), (2, 2), (9,) * 12, (14, 15), (3, 4, 5), (20, 21, 22, 23), (8, 3)]
LENGTHS = [12, 3, 7, 20, 5, 1, 9, 15, 2]

MakeEngine = Callable[..., TextEngine]
Greedy = Callable[..., list[int]]


def generate(
    engine: TextEngine, prompts: Sequence[Sequence[int]], lengths: Sequence[int], **sampling: Any
) -> list[Completion]:
    """Completions of requests that all wait before the first of them is served."""
    engine.pause()
    futures = [
        engine.submit(prompt, Sampling(max_new_tokens=length, **sampling))
        for prompt, length in zip(prompts, lengths, strict=True)
    ]
    engine.resume()
    return [future.result(PATIENCE_S) for future in futures]


# What is generated


@pytest.mark.parametrize("max_rows", [1, 3, 16])
def test_log_probs_are_those_of_a_plain_pass(
    max_rows: int, make_engine: MakeEngine, make_llama: Callable[..., LlamaForCausalLM], plain_log_probs: Any
) -> None:
    """Rows of other lengths join and leave all the time: with 3 rows, 9 prompts of 1 to 12 tokens take turns."""
    model = make_llama(torch.float32)
    completions = generate(make_engine(model, max_rows=max_rows), RAGGED, LENGTHS, with_log_probs=True)
    for prompt, completion in zip(RAGGED, completions, strict=True):
        assert completion.log_probs == pytest.approx(
            plain_log_probs(model, prompt, completion.token_ids), abs=1e-4, rel=0
        )


@pytest.mark.parametrize("max_rows", [1, 3, 16])
def test_greedy_is_what_transformers_generates(max_rows: int, make_engine: MakeEngine, greedy: Greedy) -> None:
    completions = generate(make_engine(max_rows=max_rows), RAGGED, LENGTHS, temperature=0)
    expected = [greedy(prompt, length) for prompt, length in zip(RAGGED, LENGTHS, strict=True)]
    assert [completion.token_ids for completion in completions] == expected


def test_an_end_token_ends_the_sequence_and_is_returned(make_engine: MakeEngine, greedy: Greedy) -> None:
    whole = greedy(RAGGED[0], 20)
    end = whole[4]
    [completion] = generate(make_engine(eos_token_ids=[end]), RAGGED[:1], [20], temperature=0)
    assert (completion.token_ids, completion.stop_reason) == (whole[: whole.index(end) + 1], "completed")


def test_the_limit_ends_the_sequence(make_engine: MakeEngine) -> None:
    [completion] = generate(make_engine(), RAGGED[:1], [6])
    assert (len(completion.token_ids), completion.stop_reason) == (6, "length")


def test_an_end_token_at_the_limit_counts_as_the_end(make_engine: MakeEngine, greedy: Greedy) -> None:
    first = greedy(RAGGED[0], 1)
    [completion] = generate(make_engine(eos_token_ids=first), RAGGED[:1], [1], temperature=0)
    assert completion.stop_reason == "completed"


def test_log_probs_come_only_when_asked_for(make_engine: MakeEngine) -> None:
    [completion] = generate(make_engine(), RAGGED[:1], [3])
    assert completion.log_probs is None


def test_the_same_seed_gives_the_same_tokens(make_engine: MakeEngine) -> None:
    first, second = (generate(make_engine(seed=5), RAGGED, LENGTHS) for _ in range(2))
    assert [c.token_ids for c in first] == [c.token_ids for c in second]


def test_another_seed_gives_other_tokens(make_engine: MakeEngine) -> None:
    first, second = (generate(make_engine(seed=seed), RAGGED, LENGTHS) for seed in (5, 6))
    assert [c.token_ids for c in first] != [c.token_ids for c in second]


def test_members_of_a_group_draw_different_samples(make_engine: MakeEngine) -> None:
    completions = generate(make_engine(max_rows=8), [RAGGED[0]] * 8, [12] * 8)
    assert len({tuple(c.token_ids) for c in completions}) == 8


@pytest.mark.parametrize("budget", [1, 8, 20])
def test_a_small_prefill_budget_changes_nothing_but_the_lots(
    budget: int, make_engine: MakeEngine, greedy: Greedy
) -> None:
    completions = generate(make_engine(max_prefill_tokens=budget), RAGGED, [4] * 9, temperature=0)
    assert [c.token_ids for c in completions] == [greedy(prompt, 4) for prompt in RAGGED]


def test_a_prefill_keeps_to_its_budget(model: LlamaForCausalLM, make_engine: MakeEngine) -> None:
    shapes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(lambda _, __, inputs: shapes.append(inputs["input_ids"].shape), with_kwargs=True)
    generate(make_engine(max_rows=16, max_prefill_tokens=20), RAGGED, [1] * 9)
    assert all(rows * columns <= 20 for rows, columns in shapes)
    assert len(shapes) > 1


def test_a_finished_row_that_stays_may_run_past_the_last_position(make_engine: MakeEngine) -> None:
    """Rows leave a large batch in lots; a model with learned positions has none for a row that is done."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=24, n_positions=32, n_embd=16, n_layer=1, n_head=2, eos_token_id=None)
    engine = make_engine(GPT2LMHeadModel(config), max_rows=16)
    completions = generate(engine, [(3,) * 30] + [(4,)] * 15, [2] + [30] * 15)
    assert [len(c.token_ids) for c in completions] == [2] + [30] * 15


# What is refused


def test_more_positions_than_the_model_has_are_refused_by_name(make_engine: MakeEngine) -> None:
    with pytest.raises(EngineError, match=r"prompt of 60 tokens plus max_tokens 5 exceeds the model's 64 positions"):
        make_engine().submit([3] * 60, Sampling(max_new_tokens=5))


def test_exactly_the_positions_of_the_model_are_served(make_engine: MakeEngine) -> None:
    assert len(generate(make_engine(), [(3,) * 60], [4])[0].token_ids) == 4


def test_an_empty_prompt_is_refused(make_engine: MakeEngine) -> None:
    with pytest.raises(EngineError, match="no tokens"):
        make_engine().submit([], Sampling(max_new_tokens=5))


@pytest.mark.parametrize("token", [-1, 24, 10**6])
def test_a_token_outside_the_vocabulary_is_refused_by_name(token: int, make_engine: MakeEngine) -> None:
    with pytest.raises(EngineError, match=f"token {token}, the model knows 0 to 23"):
        make_engine().submit([3, token, 4], Sampling(max_new_tokens=5))


# In which order


def order_of_ends(engine: TextEngine, priorities: Sequence[int]) -> list[int]:
    """Indices of requests in the order in which they ended, all submitted before the first is served."""
    ended: list[int] = []
    engine.pause()
    futures = [engine.submit((3, 4), Sampling(max_new_tokens=2), priority) for priority in priorities]
    for index, future in enumerate(futures):
        future.add_done_callback(lambda _, index=index: ended.append(index))
    engine.resume()
    concurrent.futures.wait(futures, timeout=PATIENCE_S)
    engine.close()
    return ended


def test_lower_priority_is_served_first_and_ties_by_arrival(make_engine: MakeEngine) -> None:
    assert order_of_ends(make_engine(max_rows=1), [5, 1, 3, 1, 5, -2]) == [5, 1, 3, 2, 0, 4]


def test_a_late_request_of_lower_priority_overtakes_those_that_wait(
    make_engine: MakeEngine, gate: Any, model: LlamaForCausalLM
) -> None:
    engine = make_engine(max_rows=1)
    running = engine.submit((3, 4), Sampling(max_new_tokens=3), priority=9)
    gate.await_pass()
    ended: list[str] = []
    futures = {name: engine.submit((5,), Sampling(max_new_tokens=1), p) for name, p in [("patient", 5), ("urgent", 1)]}
    for name, future in futures.items():
        future.add_done_callback(lambda _, name=name: ended.append(name))
    gate.open()
    concurrent.futures.wait([running, *futures.values()], timeout=PATIENCE_S)
    engine.close()
    assert (running.result().stop_reason, ended) == ("length", ["urgent", "patient"])


def test_requests_within_the_rows_are_served_together(make_engine: MakeEngine, gate: Any) -> None:
    engine = make_engine(max_rows=4)
    engine.pause()
    futures = [engine.submit((3, 4), Sampling(max_new_tokens=5)) for _ in range(4)]
    engine.resume()
    gate.open()
    concurrent.futures.wait(futures, timeout=PATIENCE_S)
    engine.close()
    assert gate.passes == 5  # the prefill, and one for each token but the last


def test_an_idle_engine_waits_for_the_members_of_a_group(
    make_engine: MakeEngine, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pangu_verl_cpu.text_engine.engine._GATHER_S", 1000.0)
    engine = make_engine(max_rows=3)
    futures = [engine.submit((3, 4), Sampling(max_new_tokens=1)) for _ in range(2)]
    assert gate.stands_still()
    futures.append(engine.submit((3, 4), Sampling(max_new_tokens=1)))
    gate.open()
    concurrent.futures.wait(futures, timeout=PATIENCE_S)
    assert gate.passes == 1


# What it counts


def test_statistics_add_up(make_engine: MakeEngine) -> None:
    engine = make_engine()
    before = engine.statistics()
    completions = generate(engine, RAGGED, LENGTHS)
    after = engine.statistics()
    assert after.prompt_tokens == sum(map(len, RAGGED))
    assert after.generated_tokens == sum(len(c.token_ids) for c in completions) == sum(LENGTHS)
    assert (after.completed_requests, after.aborted_requests, after.failed_requests) == (len(RAGGED), 0, 0)
    assert before.busy_s == 0.0
    assert after.busy_s > 0
    assert after.busy_s + after.idle_s > before.busy_s + before.idle_s


def test_busy_and_idle_time_sum_to_the_time_since_the_start(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    generate(engine, RAGGED, LENGTHS)
    engine.close()
    started_s = engine._started_s
    monkeypatch.setattr("time.monotonic", lambda: started_s + 1000.0)
    statistics = engine.statistics()
    assert statistics.busy_s + statistics.idle_s == pytest.approx(1000.0)


def test_a_request_is_counted_before_its_result_is_seen(make_engine: MakeEngine) -> None:
    engine = make_engine()
    for number in range(1, 30):
        engine.submit((3,), Sampling(max_new_tokens=1)).result(PATIENCE_S)
        assert engine.statistics().completed_requests == number


# What it imports


def test_the_text_engine_imports_neither_verl_nor_ray() -> None:
    program = (
        "import sys; from pangu_verl_cpu.text_engine import TextEngine; "
        "print([name for name in ('verl', 'ray', 'pangu_verl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
