"""The page of several runs: that it holds every run, needs nothing else, and lets no text become markup."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from page_tags import Tags

from pangu_verl.errors import WrongUse
from pangu_verl.report import build_side_by_side, summarise, summarise_side_by_side

EVIL = "<script>alert(1)</script></td></table><img src=x onerror=alert(2)> {{ 7*7 }} \" ' &amp; \x00\u202e $x^2$"


def page_of(folders: list[Path]) -> str:
    page = folders[0].parent / "runs.html"
    assert build_side_by_side(folders, page) == page
    return page.read_text(encoding="utf-8")


@pytest.fixture
def three_runs(runs: Any) -> list[Path]:
    """A whole one, one that failed before its second validation, and one of which next to nothing is left."""
    failed = {**runs.facts, "status": "failed", "failure": "out of memory", "seed": 8}
    return [
        runs.make_whole(name="whole", config="a: {b: 1}\n"),
        runs.make(name="failed", facts=failed, validation={0: [runs.row("a", True)]}, config="a: {b: 2}\n"),
        runs.make(name="torn", facts="{", metrics='{"step": 1, "da'),
    ]


def test_page_holds_every_run_whatever_its_state(three_runs: list[Path]) -> None:
    page = page_of(three_runs)
    for part in (
        "3 runs side by side",
        "whole</th>",
        "failed</th>",
        "torn</th>",
        "This run failed.",
        "out of memory",
        "run.json holds no JSON object",
        "unreadable line(s) skipped",
        "It is unknown whether this run came to its end",
        "a.<wbr>b",
        "Accuracy on 40 validation rows went from 0.30 to 0.65",
        "pangu-verl train data.max_response_length=40",
        "command unknown",
        "were not all validated on the same prompts",
        "Tango",
    ):
        assert part in page, part
    assert ">None<" not in page
    assert "nan" not in page
    assert page.count('<svg role="img" aria-label=') == 5


def test_page_is_well_formed_and_needs_nothing_else(three_runs: list[Path]) -> None:
    page = page_of(three_runs)
    tags = Tags(page)
    assert tags.depth == []
    assert not tags.names & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    addresses = [value or "" for name, value in tags.attributes if name in ("href", "src", "xlink:href")]
    assert all(address.startswith("#") for address in addresses)
    assert not re.search(r"url\((?!#)|@import", page)
    assert "prefers-color-scheme: dark" in page


def test_hostile_text_stays_text_wherever_it_stands(runs: Any) -> None:
    facts = {"name": EVIL, "status": EVIL, "failure": EVIL, "command": [EVIL], "versions": {EVIL: EVIL}}
    facts |= {"model": EVIL, "seed": {EVIL: EVIL}, "machine": {"processor": EVIL}, "commit": EVIL, "started_at": EVIL}
    config = f"{json.dumps(EVIL)}: {json.dumps(EVIL)}\n"
    name = EVIL.replace("/", "|").replace("\x00", "")
    rows = [runs.row(EVIL, True, output=EVIL, reason=EVIL)]
    evil = runs.make(name=name, facts=facts, config=config, validation={0: rows, 4: rows})
    page = page_of([evil, runs.make_whole(config="a: 1\n")])
    tags = Tags(page)
    assert tags.depth == []
    assert not tags.names & {"script", "img"}
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert "\x00" not in page
    assert "\u202e" not in page
    assert "{{ 7*7 }}" in page


def test_folder_names_that_are_no_text_do_not_break_the_page(runs: Any) -> None:
    assert "\N{REPLACEMENT CHARACTER}run" in page_of([runs.make(name="\udcffrun"), runs.make(name="other")])


def test_same_runs_give_the_same_page_and_are_only_read(three_runs: list[Path]) -> None:
    before = {path: path.stat().st_mtime_ns for folder in three_runs for path in folder.rglob("*")}
    assert page_of(three_runs) == page_of(three_runs)
    assert {path: path.stat().st_mtime_ns for folder in three_runs for path in folder.rglob("*")} == before


def test_a_page_stands_beside_nothing_unfinished(three_runs: list[Path], tmp_path: Path) -> None:
    page_of(three_runs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failed", "runs.html", "torn", "whole"]


def test_a_page_that_fails_leaves_the_earlier_one(three_runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "runs.html"
    page.write_text("earlier")
    with pytest.raises(WrongUse, match="nowhere' does not exist"):
        build_side_by_side([*three_runs, tmp_path / "nowhere"], page)
    assert page.read_text() == "earlier"


def test_a_page_that_cannot_be_placed_is_refused(three_runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(WrongUse, match=r"needs the folder '.*missing', which does not exist; make it first"):
        build_side_by_side(three_runs, tmp_path / "missing" / "runs.html")
    with pytest.raises(WrongUse, match=r"whole' is a folder; name a file, as in '.*whole/runs\.html'"):
        build_side_by_side(three_runs, three_runs[0])


def test_eight_runs_have_eight_columns(runs: Any) -> None:
    page = page_of([runs.make(name=f"run-{index}") for index in range(8)])
    header = page[page.index("<thead>") : page.index("</thead>")]
    assert header.count("<th ") == 9
    assert {f"var(--series-{number})" for number in range(1, 9)} <= set(re.findall(r"var\(--series-\d\)", header))


@pytest.mark.parametrize(("keys", "is_open"), [(0, True), (12, True), (13, False)])
def test_many_differences_of_configuration_are_folded(runs: Any, keys: int, is_open: bool) -> None:
    configs = {name: "a: 1\n" + "".join(f"k{index}: {name}\n" for index in range(keys)) for name in ("one", "two")}
    page = page_of([runs.make(name=name, config=config) for name, config in configs.items()])
    assert ('<details class="differences" open>' in page) == is_open


def test_json_is_the_summary_of_each_run_in_the_order_asked(three_runs: list[Path]) -> None:
    found = summarise_side_by_side(three_runs[::-1])
    assert found == [summarise(folder).to_json() for folder in three_runs[::-1]]
    json.dumps(found, allow_nan=False)


def test_json_refuses_what_the_page_refuses(three_runs: list[Path]) -> None:
    with pytest.raises(WrongUse, match="name each run once"):
        summarise_side_by_side([three_runs[0], three_runs[0]])
