"""The order of admission by expected length: short prompts first in one round, long ones first in the next.

A step lasts as long as its longest response, and a token grows old by what is trained on meanwhile. Where neighbours
are of like length, few steps wait for a straggler, and hardly anything overtakes the long ones; as rounds rise and fall
in turn, there is no jump between them. Invariant: a round is a permutation of its prompts, so none waits for more than
its own round and what was there before; prompts of equal or unknown length keep the order in which they came. The cost:
batches are no random sample of the data, since lengths drift from step to step. Project default; that long responses
belong together is known from RollPacker (arXiv 2509.21009), which finds them by starting too many and aborting the
slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from pangu_verl.queue.entries import Prompt


def in_wave(prompts: Sequence[Prompt], *, rises: bool) -> list[Prompt]:
    """``prompts`` by expected tokens, the shortest first if it ``rises``; an unknown length counts as the median."""
    known = [prompt.expected_tokens for prompt in prompts if prompt.expected_tokens is not None]
    if not known:
        return list(prompts)
    middle = median(known)

    def expected(prompt: Prompt) -> float:
        return middle if prompt.expected_tokens is None else prompt.expected_tokens

    return sorted(prompts, key=expected, reverse=not rises)


def rises(first_order: int, wave_groups: int) -> bool:
    """Whether the round that begins with the group of this order rises: every other one of ``wave_groups`` does."""
    return first_order // wave_groups % 2 == 0
