"""Payloads: what is read back is what was written, bit for bit, and a file is there whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_runs import contents, random_payload

from pangu_verl.errors import RunFailed
from pangu_verl.queue.entries import Group, Prompt, Segment, Trajectory
from pangu_verl.scheduler import payloads as module
from pangu_verl.scheduler.batch import Batch, TakenGroup
from pangu_verl.scheduler.payloads import Name, Payload, assemble, read_payloads, write_payloads

#: NaNs that differ in what they carry, both zeros, an infinity, the least number above 0.
ODD = np.array([0x7FC00001, 0xFFC00000, 0x7FA00001, 0x80000000, 0, 0xFF800000, 1], dtype=np.uint32).view(np.float32)


def payload(*tokens: int, reward: float | None = 0.5) -> Payload:
    return Payload(np.array(tokens, dtype=np.int32), -np.arange(len(tokens), dtype=np.float32), reward)


def made(seed: int, lengths: dict[Name, int]) -> dict[Name, Payload]:
    draws = np.random.default_rng(seed)
    return {name: random_payload(draws, length) for name, length in lengths.items()}


def bits(payloads: dict[Name, Payload]) -> dict[Name, tuple[bytes, bytes, str, str, str]]:
    return {
        name: (
            each.tokens.tobytes(), each.log_probs.tobytes(), str(each.tokens.dtype), str(each.log_probs.dtype), repr(each.reward)
        )
        for name, each in payloads.items()
    }  # fmt: skip


def batch(lengths: dict[str, list[int]], masked: dict[str, list[int]] | None = None) -> Batch:
    """One step at version 0 of groups by key, each with trajectories of these lengths."""
    entries = []
    for order, (key, tokens) in enumerate(lengths.items()):
        finished = {member: Trajectory((Segment(0, count),)) for member, count in enumerate(tokens)}
        prompt = Prompt(key=key, task="maths", trajectories=len(tokens))
        group = Group(prompt, order=order, admitted_version=0, finished=finished)
        entries.append(TakenGroup(group, 1, tuple((masked or {}).get(key, [0] * len(tokens)))))
    return Batch(step=0, version=0, groups=tuple(entries))


# --- writing and reading -----------------------------------------------------------------------------------------------

names = st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.integers(0, 2**31 - 1))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), lengths=st.dictionaries(names, st.integers(0, 40), max_size=6))
def test_payloads_come_back_bit_for_bit(seed: int, lengths: dict[Name, int]) -> None:
    written = made(seed, lengths)
    with tempfile.TemporaryDirectory() as folder:
        write_payloads(Path(folder), 3, written)
        assert bits(read_payloads(Path(folder), 3)) == bits(written)


def test_every_kind_of_log_probability_and_reward_comes_back(tmp_path: Path) -> None:
    tokens = np.array([-(2**31), 2**31 - 1, 0, 1, 2, 3, 4], dtype=np.int32)
    rewards = (None, float("nan"), -0.0, float("inf"), 5e-324, 0.1 + 0.2)
    written = {("a", member): Payload(tokens, ODD, reward) for member, reward in enumerate(rewards)}
    write_payloads(tmp_path, 0, written)
    assert bits(read_payloads(tmp_path, 0)) == bits(written)


def test_part_of_a_longer_array_comes_back_as_that_part(tmp_path: Path) -> None:
    long = np.arange(20, dtype=np.int32)
    written = {("a", 0): Payload(long[5:15:2], long.astype(np.float32)[5:15:2], 1.0)}
    write_payloads(tmp_path, 0, written)
    assert bits(read_payloads(tmp_path, 0)) == bits(written)


def test_each_step_has_its_own_file_and_the_folder_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "payloads"
    paths = [write_payloads(folder, step, {("a", step): payload(step)}) for step in (0, 1, 1_000_000)]
    assert [path.name for path in paths] == ["step-000000.parquet", "step-000001.parquet", "step-1000000.parquet"]
    assert [set(read_payloads(folder, step)) for step in (0, 1, 1_000_000)] == [
        {("a", 0)},
        {("a", 1)},
        {("a", 1_000_000)},
    ]


def test_a_step_that_is_written_again_is_replaced(tmp_path: Path) -> None:
    write_payloads(tmp_path, 0, {("a", 0): payload(1), ("b", 0): payload(2)})
    write_payloads(tmp_path, 0, {("a", 0): payload(3)})
    assert bits(read_payloads(tmp_path, 0)) == bits({("a", 0): payload(3)})


# --- whole or not at all -----------------------------------------------------------------------------------------------


def half_written(table: Any, path: Path, **_: Any) -> None:
    path.write_bytes(b"PAR1 and then the disk was full")
    raise OSError("No space left on device")


def not_renamed(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "function", "fault"), [(pq, "write_table", half_written), (module.os, "replace", not_renamed)]
)
def test_a_write_that_breaks_off_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, function: str, fault: Any
) -> None:
    write_payloads(tmp_path, 0, {("a", 0): payload(1)})
    with monkeypatch.context() as broken:
        broken.setattr(owner, function, fault)
        for step in (0, 1):
            with pytest.raises((OSError, KeyboardInterrupt)):
                write_payloads(tmp_path, step, {("a", 0): payload(2)})
    assert bits(read_payloads(tmp_path, 0)) == bits({("a", 0): payload(1)})
    with pytest.raises(RunFailed, match="recorded trajectories of step 1"):
        read_payloads(tmp_path, 1)
    write_payloads(tmp_path, 1, {("a", 0): payload(2)})
    assert bits(read_payloads(tmp_path, 1)) == bits({("a", 0): payload(2)})
    assert sorted(path.suffix for path in tmp_path.iterdir() if "000001" in path.name) == [".parquet"]


# --- files that are not as written -------------------------------------------------------------------------------------


def refusal(folder: Path, step: int = 0) -> str:
    with pytest.raises(RunFailed) as caught:
        read_payloads(folder, step)
    text = str(caught.value)
    assert text.startswith(f"{folder / f'step-{step:06d}.parquet'}: expected the ") and "\n" not in text
    assert text.endswith("record the run again")
    return text


def test_a_step_without_a_file_is_named(tmp_path: Path) -> None:
    assert "recorded trajectories of step 4" in refusal(tmp_path, 4)


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = write_payloads(tmp_path, 0, {("a", 0): payload(1, 2, 3)})
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        refusal(tmp_path)


def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    written = {("a", 0): payload(1, 2, 3), ("b", 1): Payload(np.arange(7, dtype=np.int32), ODD, None)}
    path = write_payloads(tmp_path, 0, written)
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 5):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert bits(read_payloads(tmp_path, 0)) == bits(written)
        except RunFailed:
            refused += 1
    assert refused > len(whole) / 10


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"key": ["a"]}, "got key string;"),
        (
            {"key": ["a"], "member": [0], "tokens": [[1]], "log_probs": [[0.5]], "reward": [0.5]},
            "got key string, member int64, tokens list<element: int64>, log_probs list<element: double>, reward double;",
        ),
    ],
)
def test_a_file_of_other_columns_is_refused_with_both(tmp_path: Path, columns: dict[str, Any], found: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "step-000000.parquet")
    text = refusal(tmp_path)
    assert "expected the columns key string, member int32, tokens list<element: int32>, " in text
    assert found in text


# --- batches as arrays -------------------------------------------------------------------------------------------------


def test_a_batch_is_padded_to_its_longest_and_masked_where_it_does_not_count() -> None:
    step = batch({"a": [3, 0], "b": [2]}, masked={"a": [1, 0], "b": [2]})
    held = {("a", 0): payload(7, 8, 9), ("a", 1): payload(reward=None), ("b", 0): payload(4, 5, reward=-0.0)}
    arrays = assemble(step, held)
    assert arrays.tokens.tolist() == [[7, 8, 9], [0, 0, 0], [4, 5, 0]]
    assert arrays.log_probs.tolist() == [[0.0, -1.0, -2.0], [0.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
    assert arrays.loss_mask.tolist() == [[False, True, True], [False] * 3, [False] * 3]
    assert [repr(reward) for reward in arrays.rewards.tolist()] == ["0.5", "nan", "-0.0"]
    kinds = [str(array.dtype) for array in (arrays.tokens, arrays.log_probs, arrays.loss_mask, arrays.rewards)]
    assert kinds == ["int32", "float32", "bool", "float64"]


@pytest.mark.parametrize("lengths", [{}, {"a": [0, 0]}])
def test_a_batch_without_tokens_has_arrays_without_columns(lengths: dict[str, list[int]]) -> None:
    num = sum(map(len, lengths.values()))
    arrays = assemble(batch(lengths), {("a", 0): payload(), ("a", 1): payload()})
    assert arrays.tokens.shape == arrays.log_probs.shape == arrays.loss_mask.shape == (num, 0)
    assert arrays.rewards.shape == (num,)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), data=st.data())
def test_arrays_are_in_the_batchs_order_whatever_the_order_of_arrival(seed: int, data: st.DataObject) -> None:
    lengths = data.draw(
        st.dictionaries(st.text("abc", min_size=1), st.lists(st.integers(0, 9), min_size=1), min_size=1)
    )
    held = made(seed, {(key, member): count for key, counts in lengths.items() for member, count in enumerate(counts)})
    shuffled = dict(data.draw(st.permutations(list(held.items()))))
    assert contents(assemble(batch(lengths), held)) == contents(assemble(batch(lengths), shuffled))


def test_payloads_of_other_steps_are_left_alone() -> None:
    arrays = assemble(batch({"a": [1]}), {("z", 0): payload(9, 9), ("a", 0): payload(1), ("a", 1): payload(2)})
    assert arrays.tokens.tolist() == [[1]]


@pytest.mark.parametrize(
    ("held", "found"),
    [
        ({}, "got none;"),
        ({("a", 0): payload(1, 2), ("b", 1): payload(1, 2)}, "got none;"),
        ({("a", 1): payload(1)}, "got 1 with 1;"),
        ({("a", 1): payload(1, 2, 3)}, "got 3 with 3;"),
        ({("a", 1): Payload(np.arange(2, dtype=np.int32), np.zeros(3, dtype=np.float32), None)}, "got 2 with 3;"),
        ({("a", 1): Payload(np.arange(3, dtype=np.int32), np.zeros(2, dtype=np.float32), None)}, "got 3 with 2;"),
    ],
)
def test_a_trajectory_without_a_payload_of_its_length_is_named(held: dict[Name, Payload], found: str) -> None:
    with pytest.raises(RunFailed) as caught:
        assemble(batch({"a": [2, 2]}), {("a", 0): payload(1, 2)} | held)
    text = str(caught.value)
    assert text.startswith("trajectory 1 of group 'a': expected 2 tokens with as many log-probabilities, got ")
    assert found in text and text.endswith("schedule and payloads are of different runs")
