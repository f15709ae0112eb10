"""Prompts, sampling and types that the tests of the text engine share."""

from __future__ import annotations

from collections.abc import Callable

from pangu_verl_cpu.text_engine import Sampling, TextEngine

PATIENCE_S = 60.0
PROMPT, OTHER_PROMPT = (3, 4, 5), (6, 7)

MakeEngine = Callable[..., TextEngine]
Greedy = Callable[..., list[int]]


def greedy_sampling(max_new_tokens: int) -> Sampling:
    """Always the likeliest token."""
    return Sampling(max_new_tokens=max_new_tokens, temperature=0)
