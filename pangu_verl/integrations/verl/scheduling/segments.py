"""Which policy version made each token of a row, and which of them stay out of the loss.

A row is one line of verl's batch: its ``response_mask`` has a 1 for each token that the policy made and a 0 for those
of tools and templates. Invariant: a token is never taken for fresher than it is, and versions grow along a trajectory.
Nothing is read or written here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Segment

#: Name of the client's notes in verl's ``extra_fields``: pairs (version, tokens) in the order of generation.
SEGMENTS = "segments"


def segments_of(name: str, notes: Mapping[str, Any], num_tokens: int, started_version: int) -> tuple[Segment, ...]:
    """Segments of the first ``num_tokens`` made tokens of row ``name``, from verl's extra fields of it.

    What an agent loop lost the notes of counts as made when its group was started, at ``started_version``. Raises
    ``RunFailed`` where the rollout does not say which version made what was noted.
    """
    recorded = notes.get(SEGMENTS) or []
    if any(version is None for version, _ in recorded):
        raise RunFailed(
            f"row {name} does not say which policy version made its tokens (global_steps is missing); the rollout "
            "server has to stamp it, as verl's own do"
        )
    found: list[Segment] = []
    left = num_tokens
    for version, tokens in recorded:
        kept = min(tokens, left)
        left -= kept
        if kept and found and found[-1].version == version:
            found[-1] = Segment(version, found[-1].tokens + kept)
        elif kept:
            found.append(Segment(version, kept))
    if left:
        found.insert(0, Segment(started_version, left))
    return tuple(found)


def in_order(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Segments of one trajectory whose rows were made side by side: no version above one that comes later."""
    found: list[Segment] = []
    for segment in reversed(segments):
        version = min(segment.version, found[-1].version) if found else segment.version
        found.append(Segment(version, segment.tokens))
    return tuple(reversed(found))


def without_first(masks: Sequence[torch.Tensor], num_masked: int) -> list[torch.Tensor]:
    """The response masks of a trajectory's rows, in order, without their first ``num_masked`` made tokens."""
    kept = []
    for mask in masks:
        place = torch.cumsum(mask, dim=0)
        kept.append(torch.where(place > num_masked, mask, torch.zeros_like(mask)))
        num_masked = max(0, num_masked - int(place[-1]) if len(mask) else num_masked)
    return kept
