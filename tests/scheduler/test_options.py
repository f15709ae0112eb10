"""Options by name, as a configuration file gives them to a policy or controller."""

from __future__ import annotations

import math
from dataclasses import dataclass, make_dataclass
from typing import Any

import pytest

from pangu_verl.errors import WrongUse
from pangu_verl.scheduler.options import configured
from pangu_verl.scheduler.policies import Drop, Mask


@dataclass(frozen=True)
class Made:
    name = "made"
    count: int = 3
    share: float = 0.5
    title: str = "of no concern"


def test_named_numbers_are_replaced_and_the_others_kept() -> None:
    assert configured(Made(count=4), {"share": 0.25}) == Made(count=4, share=0.25)


def test_the_candidate_itself_stays_as_it_is() -> None:
    candidate = Made()
    configured(candidate, {"count": 9})
    assert candidate == Made()


def test_a_whole_number_serves_for_a_share() -> None:
    assert configured(Made(), {"share": 1}).share == 1


def test_the_result_is_of_the_same_kind() -> None:
    assert configured(Drop(), {"most_evictions": 3}) == Drop(most_evictions=3)
    assert Mask().with_options({"least_fresh_share": 0.5}) == Mask(least_fresh_share=0.5)


@pytest.mark.parametrize("name", ["counts", "Count", "", "name", "title"])
def test_an_unknown_name_is_answered_with_those_that_are_known(name: str) -> None:
    with pytest.raises(WrongUse) as caught:
        configured(Made(), {name: 1})
    assert str(caught.value) == f"'made' has no option {name!r} (known: count, share)"


def test_where_there_are_no_options_it_says_so() -> None:
    bare = make_dataclass("Bare", [], namespace={"name": "bare"})
    with pytest.raises(WrongUse, match=r"'bare' has no option 'count' \(known: none\)"):
        configured(bare(), {"count": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 1.0), ("count", "3"), ("count", True), ("count", None), ("count", [3]), ("count", math.nan),
        ("share", "0.5"), ("share", False), ("share", None), ("share", math.nan), ("share", math.inf), ("share", 1j),
    ],
)  # fmt: skip
def test_what_is_no_such_number_is_refused_with_both_sides(name: str, value: Any) -> None:
    kind = {"count": "int", "share": "float"}[name]
    with pytest.raises(WrongUse) as caught:
        configured(Made(), {name: value})
    assert str(caught.value) == f"option {name!r} of 'made' is a finite number ({kind}), not {value!r}"


def test_of_several_options_one_that_is_wrong_is_enough() -> None:
    with pytest.raises(WrongUse, match="'share'"):
        configured(Made(), {"count": 1, "share": "much"})


def test_a_module_that_does_not_postpone_its_annotations_has_the_same_options() -> None:
    outside = make_dataclass("Outside", [("count", int, 3), ("share", float, 0.5)], namespace={"name": "outside"})
    found = configured(outside(), {"count": 4, "share": 1})
    assert (found.count, found.share) == (4, 1)
    with pytest.raises(WrongUse, match=r"is a finite number \(int\), not 0.5"):
        configured(outside(), {"count": 0.5})


def test_what_the_candidate_itself_refuses_is_passed_on() -> None:
    with pytest.raises(WrongUse, match="most_evictions is 0 or more, not -1"):
        Drop().with_options({"most_evictions": -1})
    with pytest.raises(WrongUse, match=r"least_fresh_share lies in 0\.\.1, not 2"):
        Mask().with_options({"least_fresh_share": 2})
