"""Lengths of answers: drawn once, and continued after an interruption."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pangu_verl_paced.lengths import NaturalLengths
from pangu_verl_paced.pacing import Pacing

from pangu_verl.errors import RunFailed
from pangu_verl.simulate.traces import named_trace

TRACE = named_trace("mid", seed=3, num_prompts=1, trajectories=4)


def lengths(most_draws: int = 100) -> NaturalLengths:
    return NaturalLengths(TRACE, most_draws)


def test_the_answers_to_a_prompt_have_the_lengths_of_its_place_in_the_trace() -> None:
    natural = lengths()
    draws = [natural.draw(7, []) for _ in range(8)]
    found = [natural.tokens(7, draw) for draw in draws]
    assert found == [*TRACE.responses(7, 0).tokens, *TRACE.responses(7, 1).tokens]


def test_a_request_that_comes_again_with_tokens_goes_on_with_its_answer() -> None:
    natural = lengths()
    first, second = natural.draw(7, []), natural.draw(7, [])
    assert natural.draw(7, [second] * 5) == second
    assert natural.draw(7, [first]) == first


def test_an_answer_interrupted_before_its_first_token_is_the_next_to_be_begun() -> None:
    natural = lengths()
    draws = [natural.draw(7, []) for _ in range(3)]
    natural.give_back(7, draws[1])
    assert [natural.draw(7, []), natural.draw(7, [])] == [draws[1], 3]


def test_more_answers_to_a_prompt_than_token_ids_are_refused() -> None:
    natural = lengths(most_draws=1)
    natural.draw(0, [])
    with pytest.raises(RunFailed, match="prompt 0 was answered 1 times"):
        natural.draw(0, [])


@given(st.lists(st.booleans(), max_size=30))
def test_two_answers_on_their_way_never_share_a_draw(begins: list[bool]) -> None:
    natural, on_their_way = lengths(), []
    for begin in begins:
        if begin or not on_their_way:
            on_their_way.append(natural.draw(5, []))
        else:
            natural.give_back(5, on_their_way.pop(0))
    assert len(set(on_their_way)) == len(on_their_way)


def test_no_answer_is_longer_than_is_said(pacing: Pacing) -> None:
    trace = pacing.trace(trajectories=8)
    assert max(max(trace.responses(prompt, 0).tokens) for prompt in range(500)) <= pacing.longest_tokens
