"""Which answers are shown."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from pangu_verl.report.samples import Sample, choose_samples
from pangu_verl.report.validation import Validation, read_validation


def sides(runs: Any, outcomes: list[tuple[bool, bool]], name: str = "run") -> tuple[Validation, Validation]:
    before = [runs.row(f"q{index}", old) for index, (old, _) in enumerate(outcomes)]
    after = [runs.row(f"q{index}", new) for index, (_, new) in enumerate(outcomes)]
    random.Random(name).shuffle(before)
    folder = runs.make(validation={0: before, 8: after}, name=name)
    return read_validation(folder / "validation" / "0.jsonl"), read_validation(folder / "validation" / "8.jsonl")


def kinds(samples: tuple[Sample, ...]) -> Counter[str]:
    return Counter(sample.kind for sample in samples)


def test_twelve_rows_of_every_kind(runs: Any) -> None:
    outcomes = [(False, True), (True, False), (False, False), (True, True)] * 10
    chosen = choose_samples(*sides(runs, outcomes))
    assert kinds(chosen) == {"fixed": 4, "broken": 3, "still wrong": 3, "still right": 2}
    assert all(sample.before.prompt == sample.after.prompt for sample in chosen)


def test_places_of_a_missing_kind_go_to_the_others(runs: Any) -> None:
    chosen = choose_samples(*sides(runs, [(False, True)] * 9 + [(True, True)] * 9))
    assert len(chosen) == 12
    assert set(kinds(chosen)) == {"fixed", "still right"}


def test_few_rows_are_all_shown(runs: Any) -> None:
    assert len(choose_samples(*sides(runs, [(False, True)] * 5))) == 5


def test_choice_does_not_depend_on_the_order_of_rows(runs: Any) -> None:
    outcomes = [(bool(index % 2), bool(index % 3)) for index in range(60)]
    first, second = (choose_samples(*sides(runs, outcomes, name)) for name in ("one", "two"))
    assert [sample.before.prompt for sample in first] == [sample.before.prompt for sample in second]


def test_one_side_alone_gives_none(runs: Any) -> None:
    before, _ = sides(runs, [(True, True)])
    assert choose_samples(before, None) == ()
