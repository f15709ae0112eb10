"""Which version made each token of a row, and what is left of its mask."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.errors import RunFailed
from pangu_verl.integrations.verl.scheduling.segments import in_order, segments_of, without_first
from pangu_verl.queue.entries import Segment

notes = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=6).map(sorted)
masks = st.lists(st.lists(st.integers(0, 1), max_size=8), min_size=1, max_size=4)


def test_attempts_of_one_version_are_one_segment() -> None:
    assert segments_of("r", {"segments": [(3, 4), (3, 2), (4, 1)]}, 7, 0) == ((3, 6), (4, 1))


def test_what_was_cut_off_is_no_segment() -> None:
    assert segments_of("r", {"segments": [(3, 4), (4, 5)]}, 5, 0) == ((3, 4), (4, 1))


def test_tokens_that_nobody_noted_are_as_old_as_their_group() -> None:
    assert segments_of("r", {"segments": [(3, 4), (4, 5)]}, 11, 1) == ((1, 2), (3, 4), (4, 5))


def test_an_agent_loop_without_notes_is_as_old_as_its_group_whatever_verl_says_of_it() -> None:
    assert segments_of("r", {"min_global_steps": 4, "max_global_steps": 5}, 3, 2) == ((2, 3),)


def test_tokens_of_an_unknown_version_are_refused() -> None:
    with pytest.raises(RunFailed, match="row r"):
        segments_of("r", {"segments": [(1, 2), (None, 3)]}, 5, 0)


@given(st.lists(st.builds(Segment, st.integers(0, 5), st.integers(1, 9)), max_size=8))
def test_rows_made_side_by_side_are_put_in_order_and_none_is_made_fresher(segments: list[Segment]) -> None:
    ordered = in_order(segments)
    assert [segment.tokens for segment in ordered] == [segment.tokens for segment in segments]
    assert [segment.version for segment in ordered] == sorted(segment.version for segment in ordered)
    assert all(found.version <= told.version for found, told in zip(ordered, segments, strict=True))


@given(recorded=notes, num_tokens=st.integers(0, 60))
def test_every_token_has_one_version_and_none_is_taken_for_fresher(
    recorded: list[tuple[int, int]], num_tokens: int
) -> None:
    made = segments_of("r", {"segments": recorded}, num_tokens, 0)
    assert sum(segment.tokens for segment in made) == num_tokens
    versions = [segment.version for segment in made for _ in range(segment.tokens)]
    noted = [version for version, tokens in recorded for _ in range(tokens)]
    assert versions == sorted(versions)
    assert all(found <= told for found, told in zip(versions, noted, strict=False))


@given(rows=masks, num_masked=st.integers(0, 40))
def test_the_first_made_tokens_leave_the_mask_and_no_others(rows: list[list[int]], num_masked: int) -> None:
    kept = without_first([torch.tensor(row, dtype=torch.int64) for row in rows], num_masked)
    before, after = [cell for row in rows for cell in row], [int(cell) for row in kept for cell in row]
    left = num_masked
    for cell, now in zip(before, after, strict=True):
        assert now == (cell if left == 0 else 0)
        left -= cell if left else 0
