"""The timeline page: made where a run wrote a timeline, true to it, and of bounded size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_timeline import write_timeline
from page_tags import Tags

from pangu_verl.report import build_report
from pangu_verl.report.timeline_lanes import replica_lanes, strip
from pangu_verl.report.timeline_view import Lane, Window, view_of
from pangu_verl.scheduler.idle import Intervals
from pangu_verl.scheduler.timeline import TimelineWriter
from pangu_verl.scheduler.timeline_reading import read_timeline

EVIL = "<script>alert(1)</script>\" onload='x' {{ 7*7 }} \x00\u202e $x^2$"


@pytest.fixture
def folder(runs: Any) -> Path:
    made: Path = runs.make()
    return made


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "timeline.jsonl"


def pages_of(folder: Path) -> tuple[str, str]:
    """The report and the timeline."""
    report = build_report(folder).read_text(encoding="utf-8")
    return report, (folder / "timeline.html").read_text(encoding="utf-8")


def words_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.split("</style>")[1]).split())


def write_simple(path: Path, at_s: float = 1000.0, first_step: int = 1) -> None:
    """20 s and two steps. The trainer computes for 10 s and publishes for 2; b idles for 12 s, 2 of them publication."""
    with TimelineWriter(path) as timeline:
        timeline.run(at_s=at_s, mode="pangu_ssp", policy="mask", bound_versions=2, slots_per_replica=2)
        timeline.attempt("a", 0, 80, at_s, at_s + 8.0)
        timeline.attempt("b", 0, 80, at_s, at_s + 8.0)
        timeline.step(first_step, 0, waited_from_s=at_s, began_s=at_s + 4.0, ended_s=at_s + 8.0)
        timeline.publication(1, at_s + 8.0, at_s + 10.0)
        timeline.attempt("a", 1, 100, at_s + 10.0, at_s + 20.0)
        timeline.attempt("a", None, 0, at_s + 10.0, at_s + 20.0)
        timeline.step(first_step + 1, 1, waited_from_s=at_s + 10.0, began_s=at_s + 14.0, ended_s=at_s + 20.0)


def test_without_a_timeline_nothing_changes(folder: Path) -> None:
    page = build_report(folder).read_text(encoding="utf-8")
    assert "timeline" not in page.split("</style>")[1]
    assert not (folder / "timeline.html").exists()


@pytest.mark.parametrize("lines", [0, 1])
def test_a_timeline_in_which_no_time_passed_has_no_page(lines: int, folder: Path, path: Path) -> None:
    write_simple(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    build_report(folder)
    assert not (folder / "timeline.html").exists()


def test_the_report_says_the_shares_and_links_the_page(folder: Path, path: Path) -> None:
    write_simple(path)
    report, timeline = pages_of(folder)
    sentence = (
        "In 20 s and 2 steps, publications apart, the trainer was idle for 40% of the time, a replica on average for 25%; "
        "45% of the decode slots were occupied."
    )
    assert sentence in report and sentence in timeline
    assert '<a href="./timeline.html">See the timeline</a>' in report
    assert '<a href="./report.html">' in timeline


def test_the_table_has_the_trainer_and_each_replica(folder: Path, path: Path) -> None:
    write_simple(path)
    words = words_of(pages_of(folder)[1])
    # idle, publication, slots occupied, requests, tokens, and again of the steps in detail
    assert "trainer 40% 10% 40%" in words
    assert "a 0% 10% 70% 3 180 0% 70%" in words
    assert "b 50% 10% 20% 1 80 50% 20%" in words


def test_the_page_needs_nothing_else_and_is_the_same_each_time(folder: Path, path: Path) -> None:
    write_timeline(path)
    first, again = pages_of(folder)[1], pages_of(folder)[1]
    assert first == again
    tags = Tags(first)
    assert tags.depth == []
    assert not tags.names & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    addresses = [value or "" for name, value in tags.attributes if name in ("href", "src", "xlink:href")]
    assert all(address.startswith(("./", "#")) for address in addresses)
    assert not re.search(r"url\((?!#)|@import", first)


def test_what_lies_between_two_sessions_is_cut_out(folder: Path, path: Path) -> None:
    write_simple(path)
    write_simple(path, at_s=5000.0, first_step=2)
    words = words_of(pages_of(folder)[1])
    assert "In 40 s and 3 steps, publications apart, the trainer was idle for 40% of the time" in words
    assert "A line across all lanes is a resumption (1); the 1 h 6 min between a session and the next" in words


def test_a_clock_that_was_set_back_between_sessions_breaks_nothing(folder: Path, path: Path) -> None:
    write_simple(path)
    write_simple(path, at_s=900.0)
    write_simple(path, at_s=1010.0)
    assert "In 30 s and 2 steps" in pages_of(folder)[1]


def test_a_last_line_that_was_cut_off_is_passed_over(folder: Path, path: Path) -> None:
    write_simple(path)
    whole = pages_of(folder)
    with path.open("a") as file:
        file.write('{"kind":"attempt","repl')
    assert pages_of(folder) == whole


def test_a_damaged_timeline_is_a_note_in_the_report(folder: Path, path: Path) -> None:
    write_simple(path)
    with path.open("a") as file:
        file.write("nonsense\n")
    page = build_report(folder).read_text(encoding="utf-8")
    assert "timeline.jsonl, line 9: expected a line of a timeline, got &#39;nonsense&#39;" in page
    assert not (folder / "timeline.html").exists()


def test_a_run_killed_in_its_first_step_is_shown_whole(folder: Path, path: Path) -> None:
    with TimelineWriter(path) as timeline:
        timeline.run(at_s=1.0, mode="pangu_ssp", policy="wait", bound_versions=0, slots_per_replica=2)
        timeline.attempt("a", 0, 5, 2.0, 3.0)
    page = pages_of(folder)[1]
    assert "In 2.0 s and 0 steps" in page and "The longest session" in page


def test_a_run_in_which_no_request_ended_has_a_page(folder: Path, path: Path) -> None:
    with TimelineWriter(path) as timeline:
        timeline.run(at_s=1.0, mode="pangu_ssp", policy="wait", bound_versions=0, slots_per_replica=2)
        timeline.step(1, 0, waited_from_s=1.0, began_s=2.0, ended_s=3.0)
    assert "idle for 50% of the time; no request ended." in pages_of(folder)[1]


def test_names_of_replicas_and_of_the_run_stay_text(folder: Path, path: Path) -> None:
    with TimelineWriter(path) as timeline:
        timeline.run(at_s=1.0, mode=EVIL, policy=EVIL, bound_versions=2**52, slots_per_replica=2**52)
        timeline.attempt(EVIL, 2**52, 2**52, 2.0, 9e10)
        timeline.step(2**52, 2**52, waited_from_s=1.0, began_s=9e10, ended_s=9e10)
    page = pages_of(folder)[1]
    tags = Tags(page)
    assert tags.depth == [] and "script" not in tags.names
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    assert "\x00" not in page and "\u202e" not in page


def test_lags_of_the_metrics_are_shown_as_the_mean_of_the_steps(runs: Any) -> None:
    shares = ({"scheduler/lag_share/0": 1.0}, {"scheduler/lag_share/0": 0.5, "scheduler/lag_share/x": 0.5})
    folder = runs.make(metrics=[runs.training_line(step, **more) for step, more in enumerate(shares, start=1)])
    write_simple(folder / "timeline.jsonl")
    assert "Lag of the trained tokens 0 versions 75% Share" in words_of(pages_of(folder)[1])


def test_replicas_come_in_the_order_in_which_people_count(path: Path) -> None:
    with TimelineWriter(path) as timeline:
        timeline.run(at_s=0.0, mode="pangu_ssp", policy="wait", bound_versions=0, slots_per_replica=2)
        for name in ("server 10", "server 2", "server 02", "7", "server"):
            timeline.attempt(name, 0, 1, 0.0, 1.0)
    view = view_of(read_timeline(path))
    assert view is not None
    assert [lane.name for lane in view.lanes] == ["7", "server", "server 02", "server 2", "server 10"]


def test_shares_of_a_step_reach_from_the_end_of_the_one_before(path: Path) -> None:
    write_simple(path)
    write_simple(path, at_s=5000.0, first_step=3)
    view = view_of(read_timeline(path))
    assert view is not None
    trainer, (first, second) = view.by_step()
    np.testing.assert_allclose(trainer.idle, [4 / 8, 4 / 12] * 2)
    np.testing.assert_allclose(trainer.publication, [0, 2 / 12] * 2)
    np.testing.assert_allclose(first.idle, [0, 0] * 2)
    np.testing.assert_allclose(second.idle, [0, 10 / 12] * 2)


def test_the_detail_is_the_middle_of_the_session_with_most_steps(path: Path) -> None:
    end_s = write_timeline(path, steps=3)
    write_timeline(path, steps=12, first_step=4, at_s=end_s + 100.0)
    view = view_of(read_timeline(path))
    assert view is not None
    window, steps = view.middle(4)
    assert [step.step for step in steps] == [8, 9, 10, 11]
    assert window.from_s == steps[0].from_s and window.to_s == steps[-1].ended_s


spans = st.lists(st.tuples(st.floats(0, 90), st.floats(0.01, 40)), min_size=1, max_size=40)


def lane_of(found: list[tuple[float, float]]) -> Lane:
    began_s, length_s = np.array(found).T
    version = np.arange(len(found)) % 3 - 1
    return Lane(name="a", requests=Intervals(began_s, began_s + length_s), version=version, tokens=version)


def boxes_of(drawing: str) -> list[tuple[float, float, float, float]]:
    """Left, top, right and bottom of each."""
    number = r"([-+.e0-9]+)"
    boxes = []
    for match in re.finditer(rf"M{number} {number}h{number}v{number}h-", drawing):
        left, top, breadth, height = map(float, match.groups())
        boxes.append((left, top, left + breadth, top + height))
    return boxes


@given(found=spans)
def test_requests_that_run_at_once_have_rows_of_their_own(found: list[tuple[float, float]]) -> None:
    window = Window(0.0, 130.0, 16.0)
    [drawing] = replica_lanes(window, [lane_of(found).cut(window)], Intervals(np.empty(0), np.empty(0)))
    boxes = boxes_of(drawing.svg)
    assert drawing.svg.count("<title>") == len(found) or drawing.height == 40
    if drawing.height != 40:
        for place, one in enumerate(boxes):
            assert one[1] >= 0 and one[3] <= drawing.height
            for other in boxes[place + 1 :]:
                # half a pixel is what a request has at least
                is_beside = one[2] <= other[0] + 0.6 or other[2] <= one[0] + 0.6
                assert is_beside or one[1] != other[1]


@given(found=spans)
def test_a_band_is_as_high_as_its_slots_are_full(found: list[tuple[float, float]]) -> None:
    window = Window(0.0, 130.0, 64.0)
    lane = lane_of(found)
    [drawing] = replica_lanes(window, [lane], Intervals(np.empty(0), np.empty(0)))
    drawn = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes_of(drawing.svg))
    seconds = lane.requests.seconds_between([0.0, 130.0])[0]
    assert drawn / (1000 * drawing.height) == pytest.approx(seconds / (130.0 * 64), abs=0.01)
    assert all(top >= -0.1 for _, top, _, _ in boxes_of(drawing.svg))


def test_a_strip_is_strong_where_slots_are_full_and_blank_where_none_is() -> None:
    window = Window(0.0, 100.0, 2.0)
    svg = strip(window, Intervals(np.array([0.0, 0.0]), np.array([50.0, 25.0])), 2.0).svg
    full, half = re.search(r'class="l8" d="([^"]*)"', svg), re.search(r'class="l4" d="([^"]*)"', svg)
    assert full is not None and half is not None
    assert boxes_of(full[1]) == [(0.0, 0.0, 250.0, 14.0)]
    assert boxes_of(half[1]) == [(250.0, 0.0, 500.0, 14.0)]
    assert svg.count("<path") == 2


def test_a_page_of_many_requests_stays_small(folder: Path, path: Path) -> None:
    write_timeline(path, replicas=32, slots=12, steps=12, length_s=0.5)
    pages_of(folder)
    assert path.read_bytes().count(b"\n") > 30_000
    assert (folder / "timeline.html").stat().st_size < 1_000_000
