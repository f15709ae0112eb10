"""The page of a recommendation."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from page_tags import Tags
from simulate_recommending import MASKS, chosen_with, made_measures, made_recommendation

from pangu_verl.report.recommendation import build_recommendation
from pangu_verl.simulate.order import Order
from pangu_verl.simulate.trials import Setting, Variant

EVIL = "<script>alert(1)</script>\u202e\x00"
RECORD = {
    "started_at": "2026-08-22T10:11:12+00:00",
    "commit": "0a1b2c3",
    "machine": {"cores": 2, "processor": "a chip"},
}


def page_of(folder: Path, record: Any = RECORD, **changes: Any) -> str:
    return build_recommendation(folder, made_recommendation(**changes), record).read_text(encoding="utf-8")


def words_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.split("</style>")[1]).split())


def test_the_page_says_what_to_set_and_why(tmp_path: Path) -> None:
    words = words_of(page_of(tmp_path))
    for part in (
        "Use mask least_fresh_share=0.5 with bound 4, a window of 320 groups, 341 of 512 devices to roll out.",
        "fresh tokens 87% of the ceiling, ± 0.40 points by seed",
        "trained length 92% of the natural one; at least 90% was asked for",
        "bound 4 versions",
        "roll out 341 devices 171 train",
        "One more version of staleness (bound 5): +5.0% fresh tokens",
        "policy: mask options: least_fresh_share: 0.5 bound_versions: 4",
        "pangu-verl simulate --policy mask --option least_fresh_share=0.5 --staleness 4 --window 320",
        "mask least_fresh_share=0.5 4 320 341 87% 92%",
        "nothing was trained",
        "commit 0a1b2c3",
        "machine 2 cores, a chip",
    ):
        assert part in words, part
    assert "None" not in words
    assert "nan" not in words


def test_the_chosen_row_of_the_table_stands_out_alone(tmp_path: Path) -> None:
    assert page_of(tmp_path).count('<tr class="all">') == 1


def test_the_figure_says_its_points_to_those_who_hear_it(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert 'role="img"' in page
    assert "wait, bound 2: 45% at 98%." in page


def test_the_page_is_well_formed_and_the_same_every_time(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert Tags(page).depth == []
    assert page == page_of(tmp_path)
    names = re.findall(r' id="([^"]*)"', page)
    assert len(names) == len(set(names))


def test_colours_follow_the_page_in_light_and_dark(tmp_path: Path) -> None:
    drawn = page_of(tmp_path).split("</style>")[1]
    assert "var(--series-3)" in drawn
    assert re.search(r"#0103[0-9a-f]{2}|#01020[12]", drawn) is None


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    variant = Variant(EVIL)
    tried = {Setting(variant, 1, 64, 300): made_measures(0.5, 0.9)}
    chosen = replace(chosen_with(), setting=Setting(variant, 1, 64, 300))
    page = page_of(
        tmp_path,
        {"started_at": EVIL, "commit": EVIL, "machine": {"processor": EVIL, "cores": EVIL}},
        order=Order(trace=EVIL),
        chosen=chosen,
        finalists=(chosen,),
        tried=tried,
        frontier=tuple(tried),
        best_by_policy=tuple(tried),
    )
    tags = Tags(page)
    assert tags.depth == []
    assert not tags.names & {"script", "img"}
    assert "\x00" not in page and "\u202e" not in page
    assert "alert(1)" in page


def test_a_record_that_says_nothing_is_unknown(tmp_path: Path) -> None:
    words = words_of(page_of(tmp_path, {}))
    assert "commit unknown" in words
    assert "machine unknown cores, unknown" in words


@pytest.mark.parametrize("count", [1, 12])
def test_any_number_of_policies_can_be_drawn(tmp_path: Path, count: int) -> None:
    tried = {Setting(Variant(f"policy{n}"), 2, 64, 300): made_measures(0.5 + n / 50, 0.9) for n in range(count)}
    tried |= {Setting(MASKS[1], 4, 320, 341): made_measures(0.87, 0.92)}
    page = page_of(tmp_path, tried=tried, frontier=tuple(tried), best_by_policy=tuple(tried))
    assert page.count("<svg") == count + 2
