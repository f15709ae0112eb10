"""Synthetic traces: their means, their randomness, and what they refuse."""

from __future__ import annotations

from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.errors import WrongUse
from pangu_verl.simulate.traces import CAP_MEANS, DRIFT, JUMP, TOTAL_SIGMA, LogNormalTrace, Task, named_trace

PROMPTS = 3_000


def lengths(trace: LogNormalTrace, num_prompts: int = PROMPTS) -> list[list[int]]:
    return [trace.responses(index, 0).tokens for index in range(num_prompts)]


@pytest.mark.parametrize("name", TOTAL_SIGMA)
def test_the_mean_natural_length_is_that_of_the_drawn_lengths(name: str) -> None:
    trace = named_trace(name, seed=1, num_prompts=PROMPTS)
    assert mean(map(mean, lengths(trace))) == pytest.approx(trace.mean_tokens, rel=0.05)


def test_lengths_have_the_sigma_of_the_design_between_prompts_and_within() -> None:
    logs = np.log(lengths(LogNormalTrace(name="x", total_sigma=0.6, seed=2, num_prompts=PROMPTS)))
    assert logs.std(axis=1, ddof=1).mean() == pytest.approx(0.6 * 0.6, rel=0.05)
    assert logs.std() == pytest.approx(0.6, rel=0.05)


def test_no_length_is_over_the_cap() -> None:
    trace = named_trace("heavy", seed=3, num_prompts=PROMPTS)
    assert max(map(max, lengths(trace))) == CAP_MEANS * trace.uncapped_mean_tokens


@given(st.integers(0, 2**31), st.integers(0, 10**6), st.integers(0, 5))
def test_the_same_prompt_and_attempt_have_the_same_lengths_in_any_order_of_asking(
    seed: int, index: int, attempt: int
) -> None:
    trace = named_trace("mid", seed=seed, num_prompts=10)
    wanted = trace.responses(index, attempt)
    trace.responses(index + 1, attempt)
    assert named_trace("mid", seed=seed, num_prompts=10).responses(index, attempt) == wanted


def test_another_attempt_draws_new_samples_at_the_prompts_own_level() -> None:
    trace = named_trace("mid", seed=4, num_prompts=PROMPTS)
    levels = [[mean(trace.responses(index, attempt).tokens) for attempt in (0, 1)] for index in range(400)]
    assert all(first != second for first, second in levels)
    assert np.corrcoef(np.log(levels).T)[0, 1] > 0.8


def test_seeds_differ() -> None:
    one, other = (named_trace("mid", seed=seed, num_prompts=10).responses(0, 0).tokens for seed in (0, 1))
    assert one != other


@pytest.mark.parametrize("levels", [DRIFT, JUMP])
def test_lengths_of_a_moving_trace_triple_over_the_run(levels: tuple[tuple[float, float], ...]) -> None:
    trace = LogNormalTrace(name="moving", total_sigma=0.6, seed=5, num_prompts=PROMPTS, levels=levels)
    tenth = PROMPTS // 10
    means = [mean(row) for row in lengths(trace)]
    assert mean(means[-tenth:]) / mean(means[:tenth]) == pytest.approx(3 if levels is JUMP else 2.636, rel=0.2)
    assert mean(means) == pytest.approx(trace.mean_tokens, rel=0.05)


def test_tasks_have_their_own_shares_lengths_and_pass_rates() -> None:
    tasks = (Task(name="code", share=0.25, length_level=2.0, pass_rate=0.2), Task(name="math", share=0.75))
    trace = LogNormalTrace(name="mix", total_sigma=0.6, seed=6, num_prompts=PROMPTS, tasks=tasks)
    code = [index for index in range(PROMPTS) if trace.prompt(index).task == "code"]
    assert len(code) / PROMPTS == pytest.approx(0.25, abs=0.03)
    found = [trace.responses(index, 0) for index in code]
    assert mean(mean(responses.tokens) for responses in found) == pytest.approx(trace.task_means()["code"], rel=0.1)
    assert mean(reward or 0.0 for responses in found for reward in responses.rewards) == pytest.approx(0.2, abs=0.03)
    assert trace.mean_tokens == pytest.approx(0.25 * trace.task_means()["code"] + 0.75 * trace.task_means()["math"])


def test_prompts_carry_no_estimates_unless_asked() -> None:
    prompt = named_trace("mid", seed=0, num_prompts=1).prompt(0)
    assert prompt.expected_tokens is None and prompt.pass_rate is None


def test_exact_estimates_are_the_mean_of_what_is_drawn() -> None:
    trace = LogNormalTrace(name="x", total_sigma=0.6, seed=7, num_prompts=1, trajectories=4_000, estimate_sigma=0.0)
    prompt, responses = trace.prompt(3), trace.responses(3, 0)
    assert prompt.expected_tokens == pytest.approx(mean(responses.tokens), rel=0.05)
    assert prompt.pass_rate == pytest.approx(mean(reward or 0.0 for reward in responses.rewards), abs=0.05)


@settings(max_examples=30)
@given(st.floats(0.1, 2.0), st.integers(1, 20), st.integers(1, 5_000))
def test_every_length_is_a_whole_token_at_least(sigma: float, trajectories: int, mean_tokens: int) -> None:
    trace = LogNormalTrace(
        name="x",
        total_sigma=sigma,
        seed=0,
        num_prompts=1,
        trajectories=trajectories,
        uncapped_mean_tokens=mean_tokens,
    )
    tokens = trace.responses(0, 0).tokens
    assert len(tokens) == trajectories
    assert all(isinstance(length, int) and length >= 1 for length in tokens)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"total_sigma": 0.0}, "sigma is over 0"),
        ({"total_sigma": float("nan")}, "sigma is over 0"),
        ({"seed": -1}, "seed 0 or more"),
        ({"num_prompts": 0}, "num_prompts is at least 1"),
        ({"trajectories": 0}, "trajectories is at least 1"),
        ({"levels": ()}, "rising positions"),
        ({"levels": ((0.5, 1.0), (0.5, 2.0))}, "rising positions"),
        ({"levels": ((0.0, 0.0),)}, "factors over 0"),
        ({"tasks": (Task(name="a", share=0.5),)}, "add up to 1, not 0.5"),
        ({"tasks": (Task(name="a", share=0.5), Task(name="a", share=0.5))}, "same name"),
    ],
)
def test_a_trace_that_cannot_be_drawn_is_refused(changes: dict[str, object], said: str) -> None:
    fields = {"name": "x", "total_sigma": 1.0, "seed": 0, "num_prompts": 10, **changes}
    with pytest.raises(WrongUse, match=said):
        LogNormalTrace(**fields)  # type: ignore[arg-type]


def test_an_unknown_trace_is_refused_with_the_known_ones() -> None:
    with pytest.raises(WrongUse, match=r"unknown trace 'mdi' \(known: mild, mid, heavy\)"):
        named_trace("mdi", seed=0, num_prompts=1)


@pytest.mark.parametrize("pass_rate", [0.0, 1.0])
def test_a_task_that_nobody_or_everybody_passes_is_refused(pass_rate: float) -> None:
    with pytest.raises(WrongUse, match="pass_rate between 0 and 1"):
        Task(name="a", pass_rate=pass_rate)
