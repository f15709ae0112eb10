"""Which reward source judges which rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pangu_verl.errors import WrongUse
from pangu_verl.mars.dispatch import source_by_domain
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
    return {domain: source.name for domain, source in found.items()}


def test_without_a_choice_each_domain_has_its_only_source() -> None:
    sources = {name: SOURCES[name] for name in ("maths", "poems")}
    assert names(source_by_domain(sources, None)) == {"math": "maths", "poem": "poems", "song": "poems"}


def test_without_a_choice_two_sources_of_one_domain_are_named() -> None:
    with pytest.raises(WrongUse, match=r"ability 'math' are claimed by .* 'maths' and 'sums'; choose with pangu\.rewa"):
        source_by_domain(SOURCES, None)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (["sums", "maths"], {"math": "sums", "sum": "sums"}),
        (["maths", "sums"], {"math": "maths", "sum": "sums"}),
        (["poems"], {"poem": "poems", "song": "poems"}),
        ([], {}),
    ],
)
def test_of_those_chosen_the_first_that_takes_a_domain_judges_it(chosen: list[str], expected: dict[str, str]) -> None:
    assert names(source_by_domain(SOURCES, chosen)) == expected


def test_an_unknown_name_is_answered_with_those_that_are_registered() -> None:
    with pytest.raises(WrongUse, match=r"no reward source 'mth' \(registered: maths, poems, sums\)"):
        source_by_domain(SOURCES, ["mth"])


@pytest.mark.parametrize("chosen", ["maths", [3], [None]])
def test_a_choice_that_is_no_list_of_names_is_refused(chosen: Any) -> None:
    with pytest.raises(WrongUse, match="takes a list of names"):
        source_by_domain(SOURCES, chosen)
