"""Which reward source judges which rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pangu_verl.errors import WrongUse
from pangu_verl.mars.dispatch import ladders, with_options
from pangu_verl.types import RewardRow, Verdict


class Source:
    def __init__(self, name: str, *domains: str) -> None:
        self.name = name
        self.domains = frozenset(domains)

    async def judge(self, row: RewardRow) -> Verdict:
        raise NotImplementedError


SOURCES = {
    source.name: source
    for source in (Source("maths", "math"), Source("poems", "poem", "song"), Source("sums", "math", "sum"))
}


def names(found: Mapping[str, Any]) -> dict[str, str]:
    return {domain: " ".join(source.name for source in ladder.rungs) for domain, ladder in found.items()}


def test_without_a_choice_each_domain_has_its_only_source() -> None:
    sources = {name: SOURCES[name] for name in ("maths", "poems")}
    assert names(ladders(sources, None)) == {"math": "maths", "poem": "poems", "song": "poems"}


def test_without_a_choice_two_sources_of_one_domain_are_named() -> None:
    with pytest.raises(
        WrongUse,
        match=r"ability 'math' are claimed by .* 'maths' and 'sums'; choose with pangu\.rewards\.sources=\[sums\]",
    ):
        ladders(SOURCES, None)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (["sums", "maths"], {"math": "sums maths", "sum": "sums"}),
        (["maths", "sums"], {"math": "maths sums", "sum": "sums"}),
        (["poems"], {"poem": "poems", "song": "poems"}),
        ([], {}),
    ],
)
def test_those_chosen_that_take_a_domain_are_its_rungs_in_their_order(
    chosen: list[str], expected: dict[str, str]
) -> None:
    assert names(ladders(SOURCES, chosen)) == expected


def test_an_unknown_name_is_answered_with_those_that_are_registered() -> None:
    with pytest.raises(WrongUse, match=r"no reward source 'mth' \(registered: maths, poems, sums\)"):
        ladders(SOURCES, ["mth"])


@pytest.mark.parametrize("chosen", ["maths", [3], [None]])
def test_a_choice_that_is_no_list_of_names_is_refused(chosen: Any) -> None:
    with pytest.raises(WrongUse, match="takes a list of names"):
        ladders(SOURCES, chosen)


def test_a_source_named_twice_is_refused() -> None:
    with pytest.raises(WrongUse, match="names a source twice: maths, poems, maths"):
        ladders(SOURCES, ["maths", "poems", "maths"])


class Adjustable(Source):
    def __init__(self, limit: int = 3) -> None:
        super().__init__("adjustable", "math")
        self.limit = limit

    def with_options(self, options: Mapping[str, Any]) -> Adjustable:
        return Adjustable(**options)


def test_options_make_a_source_anew_and_leave_the_others() -> None:
    sources = {"adjustable": Adjustable(), "poems": SOURCES["poems"]}
    found = with_options(sources, {"adjustable": {"limit": 5}})
    assert found["adjustable"].limit == 5  # type: ignore[attr-defined]
    assert (found["poems"], sources["adjustable"].limit) == (SOURCES["poems"], 3)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"maths": {"limit": 5}}, r"options\.maths: this reward source takes no options"),
        ({"mth": {"limit": 5}}, r"options: there is no reward source 'mth' \(registered: maths, poems, sums\)"),
        ({"maths": 5}, r"options\.maths takes option=value pairs, got 5"),
    ],
)
def test_options_that_nobody_takes_are_named(options: Mapping[str, Any], complaint: str) -> None:
    with pytest.raises(WrongUse, match=complaint):
        with_options(SOURCES, options)
