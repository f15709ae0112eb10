"""The format gate: which structure each mode asks for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.mars.format_gate import MODES, format_fault

SLOW = [
    "<think>why</think>42",
    "why</think>42",
    "[unused16]why[unused17]42[unused10]",
    "\n<think>\nwhy\n</think>\n\n42",
]
FAST = ["42", "<think></think>42", "<think>\n\n</think>\n\n42", "</think>42", "[unused16][unused17]42[unused10]"]
BROKEN = [
    ("", "the response is empty"),
    (" \n", "the response is empty"),
    ("[unused10]", "the response is empty"),
    ("<think>why", "reasoning is never closed"),
    ("<think>why</think>", "no answer after the reasoning"),
    ("<think>why</think> \n", "no answer after the reasoning"),
    ("<think>why[unused17]42", "reasoning is opened by <think> and closed by [unused17]"),
    ("<think>a</think>b</think>42", "reasoning is closed 2 times"),
    ("<think><think>a</think>42", "reasoning is opened 2 times"),
    ("Well, <think>a</think>42", "reasoning does not come first"),
    ("why</think>42<think>", "reasoning does not come first"),
]


@pytest.mark.parametrize("response", SLOW)
def test_a_slow_answer_follows_reasoning(response: str) -> None:
    assert format_fault(response, "slow") is None
    assert format_fault(response, "auto") is None
    assert format_fault(response, "fast") == "a fast answer holds reasoning"


@pytest.mark.parametrize("response", FAST)
def test_a_fast_answer_follows_no_reasoning(response: str) -> None:
    assert format_fault(response, "fast") is None
    assert format_fault(response, "auto") is None
    assert (format_fault(response, "slow") or "").startswith("a slow answer")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("response", "fault"), BROKEN)
def test_a_broken_structure_is_named_in_every_mode(response: str, fault: str, mode: str) -> None:
    expected = "a slow answer holds no reasoning" if mode == "slow" and "think" not in response else fault
    assert format_fault(response, mode) == expected


@pytest.mark.parametrize("piece", ["<think>", "</think>", "\0", "\ud800", "[unused16]", "a "])
def test_a_megabyte_is_looked_at(piece: str) -> None:
    for mode in MODES:
        format_fault(piece * (1_000_000 // len(piece)), mode)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["<think>", "</think>", "[unused16]", "[unused17]", "[unused10]", "why", " "])))
def test_what_is_sound_for_a_mode_is_sound_for_automatic_choice(pieces: list[str]) -> None:
    response = "".join(pieces)
    sound = format_fault(response, "fast") is None or format_fault(response, "slow") is None
    assert (format_fault(response, "auto") is None) == sound
