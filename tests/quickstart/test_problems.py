"""The generated problems: exact answers, nothing shared between training and validation, the same for a seed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pangu_verl.quickstart.problems import KINDS, Split, problems, write_problems

SEEDS = st.integers(min_value=-(2**40), max_value=2**40)
SPLITS: tuple[Split, ...] = ("train", "validation")
ANSWERS = {"word_problems_sum": lambda a, b: a + b, "word_problems_larger": max}


def made(split: Split, count: int, seed: int) -> list[dict[str, Any]]:
    return list(problems(split, count, seed))


def text(row: dict[str, Any]) -> str:
    return str(row["prompt"][0]["content"])


def wording(row: dict[str, Any]) -> str:
    """A question without its numbers and things, whatever the generator calls its templates."""
    return re.sub(r"\b(apples|pens|books|coins|cards|eggs|cups|keys|boxes|stones|shells|stamps)\b|\d+", "_", text(row))


@settings(max_examples=20, deadline=None)
@given(first=SEEDS, second=SEEDS)
def test_no_pair_of_operands_is_in_both_splits_in_either_order(first: int, second: int) -> None:
    seen = {split: set() for split in SPLITS}
    for split, seed in (("train", first), ("validation", second)):
        for row in made(split, 300, seed):
            seen[split].add(frozenset(row["extra_info"]["operands"]))
    assert not seen["train"] & seen["validation"]


def test_every_pair_of_operands_is_in_one_split_whatever_is_drawn() -> None:
    for kind in KINDS:
        pairs = {split: {frozenset(pair) for pair in kind.pairs(split)} for split in SPLITS}
        assert not pairs["train"] & pairs["validation"]
        numbers = range(kind.smallest, kind.largest + 1)
        everything = {frozenset((a, b)) for a in numbers for b in numbers if a != b or kind.allows_equal_operands}
        assert pairs["train"] | pairs["validation"] == everything
        assert 0.2 < len(pairs["validation"]) / len(everything) < 0.45


@settings(max_examples=20, deadline=None)
@given(first=SEEDS, second=SEEDS)
def test_no_wording_is_in_both_splits(first: int, second: int) -> None:
    train = {wording(row) for row in made("train", 300, first)}
    validation = {wording(row) for row in made("validation", 300, second)}
    assert not train & validation


def test_no_template_is_in_two_places() -> None:
    templates = [template for kind in KINDS for split in SPLITS for template in kind.templates[split]]
    assert len(set(templates)) == len(templates)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, split=st.sampled_from(SPLITS))
def test_answers_are_exact_and_the_question_names_both_numbers(seed: int, split: Split) -> None:
    for row in made(split, 100, seed):
        a, b = row["extra_info"]["operands"]
        assert row["reward_model"]["ground_truth"] == str(ANSWERS[row["data_source"]](a, b))
        assert {int(number) for number in re.findall(r"\d+", text(row))} == {a, b}


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, split=st.sampled_from(SPLITS), count=st.integers(min_value=0, max_value=400))
def test_there_are_as_many_as_asked_and_no_two_the_same(seed: int, split: Split, count: int) -> None:
    rows = made(split, count, seed)
    assert len({text(row) for row in rows}) == len(rows) == count
    assert [row["extra_info"]["index"] for row in rows] == list(range(count))


@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_a_seed_gives_the_same_problems_again(seed: int) -> None:
    for split in SPLITS:
        assert made(split, 50, seed) == made(split, 50, seed)


def test_another_seed_gives_other_problems() -> None:
    assert made("train", 50, 0) != made("train", 50, 1)


def test_fewer_problems_are_the_first_of_more() -> None:
    assert made("train", 20, 3) == made("train", 50, 3)[:20]


def test_both_kinds_are_equally_many() -> None:
    sources = [row["data_source"] for row in made("validation", 100, 0)]
    assert sources.count("word_problems_sum") == sources.count("word_problems_larger") == 50


@pytest.mark.parametrize("split", SPLITS)
def test_more_problems_than_there_are_end_with_the_number_and_not_never(split: Split) -> None:
    with pytest.raises(ValueError, match=rf"asked for 1000000 {split} problems, and hardly more than \d+ differ"):
        made(split, 1_000_000, 0)


def test_the_quickstart_asks_for_no_more_than_there_are() -> None:
    from pangu_verl.quickstart.job import TRAIN_ROWS, VALIDATION_ROWS

    assert len(made("train", TRAIN_ROWS, 0)) == TRAIN_ROWS
    assert len(made("validation", VALIDATION_ROWS, 0)) == VALIDATION_ROWS


def test_the_files_hold_verls_columns(tmp_path: Path) -> None:
    train, validation = write_problems(tmp_path / "data", 12, 5, seed=0)
    for file, split, count in ((train, "train", 12), (validation, "validation", 5)):
        rows = parquet.read_table(file).to_pylist()
        assert len(rows) == count
        for row in rows:
            assert set(row) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
            assert row["ability"] == "math"
            assert [set(message) for message in row["prompt"]] == [{"role", "content"}]
            assert row["reward_model"]["style"] == "rule"
            assert row["extra_info"]["split"] == split


def test_writing_again_gives_the_same_rows(tmp_path: Path) -> None:
    first = [pd.read_parquet(file).astype(str) for file in write_problems(tmp_path, 20, 10, seed=5)]
    again = [pd.read_parquet(file).astype(str) for file in write_problems(tmp_path, 20, 10, seed=5)]
    for one, other in zip(first, again, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_the_maths_reward_accepts_every_gold_answer() -> None:
    from pangu_verl.mars.maths import settle_plainly

    for split in SPLITS:
        for row in made(split, 100, 0):
            gold = row["reward_model"]["ground_truth"]
            assert settle_plainly(gold, f"{gold}") == ("literal", True)
            assert settle_plainly(gold, f"{int(gold) + 1}") == ("numeric", False)
