"""Admission by expected length, rising and falling in turn."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.queue.entries import Prompt
from pangu_verl.queue.waves import in_wave, rises

lengths = st.lists(st.none() | st.floats(1.0, 1e9), max_size=30)


def prompts_of(expected_tokens: Sequence[float | None]) -> list[Prompt]:
    return [
        Prompt(key=f"p{number}", task="any", trajectories=1, row=number, expected_tokens=tokens)
        for number, tokens in enumerate(expected_tokens)
    ]


def rows(prompts: Sequence[Prompt]) -> list[int | None]:
    return [prompt.row for prompt in prompts]


def test_a_rising_round_begins_with_the_shortest_and_a_falling_one_with_the_longest() -> None:
    prompts = prompts_of([30.0, 10.0, 20.0])
    assert rows(in_wave(prompts, rises=True)) == [1, 2, 0]
    assert rows(in_wave(prompts, rises=False)) == [0, 2, 1]


def test_rounds_rise_and_fall_in_turn() -> None:
    assert [rises(first, 8) for first in (0, 8, 16, 24)] == [True, False, True, False]


def test_a_round_that_was_begun_in_the_middle_goes_on_in_its_direction() -> None:
    assert [rises(first, 8) for first in (3, 11)] == [True, False]


def test_unknown_lengths_stand_in_the_middle() -> None:
    assert rows(in_wave(prompts_of([None, 10.0, 30.0, 20.0]), rises=True)) == [1, 0, 3, 2]


@given(number=st.integers(0, 20), is_rising=st.booleans())
def test_where_nothing_is_known_prompts_stay_as_they_came(number: int, is_rising: bool) -> None:
    prompts = prompts_of([None] * number)
    assert in_wave(prompts, rises=is_rising) == prompts


@given(expected=lengths, is_rising=st.booleans())
def test_no_prompt_is_lost_or_doubled(expected: list[float | None], is_rising: bool) -> None:
    prompts = prompts_of(expected)
    assert sorted(in_wave(prompts, rises=is_rising), key=lambda prompt: prompt.row or 0) == prompts


@given(expected=lengths, is_rising=st.booleans())
def test_a_round_in_order_stays_as_it_is(expected: list[float | None], is_rising: bool) -> None:
    once = in_wave(prompts_of(expected), rises=is_rising)
    assert in_wave(once, rises=is_rising) == once
