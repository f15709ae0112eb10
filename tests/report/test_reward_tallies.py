"""What verdicts come to: counts and shares against values worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folders import Runs

from pangu_verl.report.reward_tallies import MOST_DISAGREEMENTS, MOST_ENTRIES, MOST_TERMS, OTHERS, RewardTallies
from pangu_verl.report.verdicts import parse_verdict


def tallied(*lines: dict[str, Any]) -> RewardTallies:
    tallies = RewardTallies()
    for line in lines:
        verdict = parse_verdict(line)
        assert verdict is not None
        tallies.add(verdict)
    return tallies


def asked(*opinions: tuple[str, bool | None], **more: Any) -> dict[str, Any]:
    """A line of which the first opinion counted."""
    source, passed = opinions[0]
    return Runs.verdict(source, passed, opinions=[Runs.opinion(*said) for said in opinions], **more)


def test_rows_are_counted_by_source_and_domain(runs: Any) -> None:
    lines = [runs.verdict("maths", passed) for passed in (True, True, False, None)]
    tallies = tallied(*lines, runs.verdict("code", True, "code"), runs.verdict("maths", False, "science"))
    assert list(tallies.verdicts) == [("maths", "maths"), ("code", "code"), ("maths", "science")]
    found = tallies.verdicts["maths", "maths"]
    assert (found.rows, found.judged, found.unjudged_share) == (4, 3, 0.25)
    assert found.passed.value == pytest.approx(2 / 3)
    assert found.score.value == pytest.approx(2 / 3)
    assert {name: tally.rows for name, tally in tallies.by_source().items()} == {"code": 1, "maths": 5}
    assert tallies.all_rows.rows == 6


def test_unjudged_rows_enter_no_mean(runs: Any) -> None:
    breakdown = {"maths": {"score": None}, "auxiliary": {"length": -0.5}}
    found = tallied(runs.verdict("maths", None, breakdown=breakdown)).all_rows
    assert (found.score.value, found.passed.value, found.correctness.value) == (None, None, None)
    assert found.auxiliary == {}
    assert found.unjudged_share == 1.0


def test_a_preference_has_scores_and_no_share_of_passed(runs: Any) -> None:
    found = tallied(runs.verdict("judge", None, score=0.7)).all_rows
    assert (found.judged, found.score.value, found.passed.value) == (1, 0.7, None)


def test_parts_of_the_score_are_means_of_the_rows_that_have_them(runs: Any) -> None:
    whole = {"maths": {"score": 1.0}, "format_gate": {"fault": "no tag"}, "auxiliary": {"length": -0.2, "mode": 0.0}}
    bare = {"maths": {"score": 0.0}, "auxiliary": {"length": 0.0}}
    found = tallied(*(runs.verdict("maths", True, breakdown=parts) for parts in (whole, bare))).all_rows
    assert found.correctness.value == 0.5
    assert (found.gate_faults.count, found.gate_faults.value) == (1, 1.0)
    assert {term: amounts.value for term, amounts in found.auxiliary.items()} == {"length": -0.1, "mode": 0.0}


def test_times_are_median_and_the_99th_of_100(runs: Any) -> None:
    found = tallied(*(runs.verdict("maths", True, seconds=float(second)) for second in range(100, 0, -1))).all_rows
    assert (found.median_s, found.p99_s) == (50.5, 99.0)
    assert tallied(runs.verdict("maths", True, seconds=None)).all_rows.p99_s is None


def test_a_source_that_was_asked_in_vain_shows_although_its_verdict_did_not_count(runs: Any) -> None:
    opinions = [runs.opinion("maths", None), runs.opinion("judge", True)]
    tallies = tallied(runs.verdict("judge", True, opinions=opinions))
    assert tallies.has_ladders
    found = {source: (tally.asked, tally.unjudged, tally.counted) for (source, _), tally in tallies.asked.items()}
    assert found == {"maths": (1, 1, 0), "judge": (1, 0, 1)}


def test_an_audit_never_counts(runs: Any) -> None:
    opinions = [runs.opinion("judge", False, is_audit=True), runs.opinion("judge", True)]
    found = tallied(runs.verdict("judge", True, opinions=opinions)).asked["judge", "maths"]
    assert (found.asked, found.audits, found.counted) == (2, 1, 1)


def test_of_a_row_left_unjudged_no_opinion_counts(runs: Any) -> None:
    """As where a claim is measured to be unreliable and nobody above can judge."""
    opinions = [runs.opinion("maths", False), runs.opinion("judge", None, reason="budget used up")]
    tallies = tallied(runs.verdict("judge", None, opinions=opinions))
    assert [tally.counted for tally in tallies.asked.values()] == [0, 0]
    assert [key for key, _ in tallies.frequent_reasons()] == [("judge", "budget used up")]


def test_one_source_a_row_is_no_ladder(runs: Any) -> None:
    assert not tallied(runs.verdict("maths", True), runs.verdict("code", None)).has_ladders


def test_reasons_of_one_kind_are_counted_together(runs: Any) -> None:
    reasons = [
        "the gold answer 'x+' cannot be read (17 characters)",
        "the gold answer '(' cannot be read (1 characters)",
    ]
    said = [runs.opinion("maths", None, reason=reason) for reason in reasons]
    left = runs.verdict("maths", None, opinions=[said[0]])
    rescued = runs.verdict("judge", True, opinions=[said[1], runs.opinion("judge", True)])
    (((source, reason), tally),) = tallied(left, rescued).frequent_reasons()
    assert (source, reason) == ("maths", "the gold answer … cannot be read (N characters)")
    assert (tally.left, tally.rescued) == (1, 1)


def test_a_row_left_unjudged_by_a_broken_term_has_a_reason_too(runs: Any) -> None:
    line = runs.verdict("maths", True, score=None, reason="auxiliary term 'x' failed: KeyError: 3")
    (((source, reason), tally),) = tallied(line).frequent_reasons()
    assert (source, reason, tally.left) == ("maths", "auxiliary term … failed: KeyError: N", 1)


def test_disagreements_are_counted_by_pair_and_direction(runs: Any) -> None:
    tallies = tallied(
        asked(("maths", True), ("judge", False)),
        asked(("judge", True), ("maths", False)),
        asked(("judge", False), ("maths", True)),
        asked(("maths", True), ("judge", True)),
        asked(("maths", True), ("judge", None)),
    )
    found = tallies.pairs["judge", "maths"]
    assert (found.both, found.disagreements, found.first_alone, found.second_alone) == (4, 3, 1, 2)
    assert tallies.disputed_rows == 3
    assert len(tallies.disputes) == 3


def test_a_row_that_three_sources_dispute_is_one_row(runs: Any) -> None:
    tallies = tallied(asked(("a", True), ("b", False), ("c", False)))
    assert tallies.disputed_rows == 1
    assert {pair: tally.disagreements for pair, tally in tallies.pairs.items()} == {
        ("a", "b"): 1,
        ("a", "c"): 1,
        ("b", "c"): 0,
    }


def test_the_first_disagreements_are_kept_with_short_reasons(runs: Any) -> None:
    lines = [asked(("a", True), ("b", False), id=str(index)) for index in range(50)]
    lines[0]["opinions"][0]["reason"] = "word\n" * 100_000
    tallies = tallied(*lines)
    assert [dispute.row for dispute in tallies.disputes] == [str(index) for index in range(MOST_DISAGREEMENTS)]
    assert tallies.disputed_rows == 50
    kept = tallies.disputes[0].opinions[0].reason
    assert kept.startswith("word word") and kept.endswith(" …") and len(kept) < 320


def test_names_without_end_are_counted_as_others(runs: Any) -> None:
    lines = [
        runs.verdict("judge", None, f"domain {index}", opinions=[runs.opinion(f"source {index}", None)])
        for index in range(MOST_ENTRIES + 50)
    ]
    tallies = tallied(*lines)
    for known in (tallies.verdicts, tallies.asked, tallies.reasons):
        assert len(known) == MOST_ENTRIES + 1
    assert tallies.verdicts[OTHERS, OTHERS].rows == 50
    assert tallies.all_rows.rows == MOST_ENTRIES + 50


def test_terms_without_end_are_left_out(runs: Any) -> None:
    breakdown = {"auxiliary": {f"term {index}": 0.0 for index in range(100)}}
    assert len(tallied(runs.verdict("maths", True, breakdown=breakdown)).all_rows.auxiliary) == MOST_TERMS


PASSED = st.none() | st.booleans()
OPINIONS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), PASSED), min_size=1, max_size=5)


@given(st.lists(OPINIONS, max_size=8))
def test_every_row_and_opinion_is_counted_once(rows: list[list[tuple[str, bool | None]]]) -> None:
    tallies = tallied(*(asked(*opinions) for opinions in rows))
    assert tallies.all_rows.rows == len(rows)
    assert sum(tally.asked for tally in tallies.asked.values()) == sum(map(len, rows))
    assert sum(tally.counted for tally in tallies.asked.values()) == tallies.all_rows.judged
    disputed = [{passed for _, passed in opinions} >= {True, False} for opinions in rows]
    assert tallies.disputed_rows == sum(disputed)
