"""The audit trail of rewards as a run left it: whole, cut off, malformed, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from pangu_verl.integrations.verl.reward_trail import RewardTrail
from pangu_verl.mars.ladder import Opinion
from pangu_verl.mars.reliability import Change, Rate
from pangu_verl.mars.state import JudgedRow
from pangu_verl.report.rewards import MOST_CHANGES, MOST_RATES, read_rewards
from pangu_verl.types import Verdict

CHANGE = {"at": "2026-08-22T10:11:12+00:00", "source": "maths", "domain": "maths", "before": "trusted"}
CHANGE |= {"after": "rejects escalated", "reason": "12 of 90 rejects were wrong"}
RATE = {"source": "maths", "domain": "maths", "claim": "reject", "origin": "audit", "audited": 90, "wrong": 12}
RATE |= {"low": 0.078, "high": 0.218}


def test_a_run_without_the_folder_has_no_audit(runs: Any) -> None:
    assert read_rewards(runs.make()) is None


def test_a_file_in_place_of_the_folder_is_no_audit(runs: Any) -> None:
    folder = runs.make()
    (folder / "rewards").write_text("")
    assert read_rewards(folder) is None


def test_an_empty_folder_is_an_audit_of_nothing(runs: Any) -> None:
    audit = read_rewards(runs.add_rewards(runs.make()))
    assert audit is not None
    assert (audit.tallies.all_rows.rows, audit.rates, audit.changes, audit.notes) == (0, (), (), ())


@pytest.mark.parametrize("cut", ['{"at": "20', '{"at": "2026-08-22T10:11:12+00:00", "source": "ma\udcff', "\x00" * 9])
def test_the_line_that_a_killed_run_cut_off_is_no_fault(runs: Any, cut: str) -> None:
    text = runs.lines([runs.verdict("maths", True)] * 2)
    folder = runs.add_rewards(runs.make(), text, runs.lines([CHANGE]) + '{"at"')
    with (folder / "rewards" / "verdicts.jsonl").open("ab") as stream:
        stream.write(cut.encode("utf-8", "surrogateescape"))
    audit = read_rewards(folder)
    assert audit is not None
    assert audit.tallies.all_rows.rows == 2
    assert audit.changes_found == 1
    assert audit.notes == ()


def test_other_malformed_lines_are_counted_and_said(runs: Any) -> None:
    whole = runs.lines([runs.verdict("maths", True)])
    no_verdict = runs.lines([{"source": "maths", "score": 3}])
    text = whole + '{"at": "20' + whole + "[1]\n" + no_verdict + "\n" + whole + no_verdict.rstrip("\n")
    audit = read_rewards(runs.add_rewards(runs.make(), text, "{}\n"))
    assert audit is not None
    assert audit.tallies.all_rows.rows == 2
    assert audit.notes == (
        "rewards/verdicts.jsonl: 4 malformed line(s) left out (the first is line 2).",
        "rewards/changes.jsonl: 1 malformed line(s) left out (the first is line 1).",
    )


@pytest.mark.parametrize(
    "junk", ["\x00" * 50, "[" * 100_000, "null", '{"a": ' + "1" * 5000 + "}", "\u2028", "\ufeff{}"]
)
def test_junk_between_lines_is_skipped(runs: Any, junk: str) -> None:
    line = runs.lines([runs.verdict("maths", True)])
    audit = read_rewards(runs.add_rewards(runs.make(), line + junk + "\n" + line))
    assert audit is not None
    assert audit.tallies.all_rows.rows == 2
    assert len(audit.notes) == 1


def test_changes_are_kept_in_order_and_the_last_of_many(runs: Any) -> None:
    changes = [{**CHANGE, "reason": str(number)} for number in range(MOST_CHANGES + 30)]
    audit = read_rewards(runs.add_rewards(runs.make(), changes=changes))
    assert audit is not None
    assert audit.changes_found == MOST_CHANGES + 30
    assert [change.reason for change in audit.changes] == [str(number) for number in range(30, MOST_CHANGES + 30)]
    assert (audit.changes[0].before, audit.changes[0].after) == ("trusted", "rejects escalated")


@pytest.mark.parametrize("missing", ["at", "domain", "before", "reason"])
def test_a_change_that_says_less_is_shown_as_far_as_it_goes(runs: Any, missing: str) -> None:
    audit = read_rewards(runs.add_rewards(runs.make(), changes=[{**CHANGE, missing: 3}]))
    assert audit is not None
    assert getattr(audit.changes[0], missing) == ""


def test_rates_are_read_by_source_domain_and_claim(runs: Any) -> None:
    accept = {**RATE, "claim": "accept", "origin": "gold", "wrong": 0}
    audit = read_rewards(runs.add_rewards(runs.make(), reliability={"rates": [RATE, accept]}))
    assert audit is not None
    first, second = audit.rates
    assert (first.is_accept, first.origin, first.share) == (True, "gold", 0.0)
    assert (second.is_accept, second.audited, second.wrong, second.low, second.high) == (False, 90, 12, 0.078, 0.218)
    assert second.share == pytest.approx(12 / 90)


def test_a_rate_of_nothing_checked_is_unknown(runs: Any) -> None:
    nothing = {**RATE, "audited": 0, "wrong": 0, "low": "?", "high": 7}
    audit = read_rewards(runs.add_rewards(runs.make(), reliability={"rates": [nothing]}))
    assert audit is not None
    assert (audit.rates[0].share, audit.rates[0].low, audit.rates[0].high) == (None, None, None)


@pytest.mark.parametrize(
    "wrong",
    [{"source": None}, {"claim": "other"}, {"claim": []}, {"audited": True}, {"audited": -1}, {"wrong": 91}],
)
def test_rates_of_another_shape_are_left_out_and_said(runs: Any, wrong: dict[str, Any]) -> None:
    audit = read_rewards(runs.add_rewards(runs.make(), reliability={"rates": [RATE, {**RATE, **wrong}, 3]}))
    assert audit is not None
    assert len(audit.rates) == 1
    assert audit.notes == ("rewards/reliability.json: 2 malformed rate(s) left out.",)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"rates": 3}', "[" * 100_000])
def test_an_unreadable_file_of_rates_leaves_reliability_unknown(runs: Any, text: str) -> None:
    audit = read_rewards(runs.add_rewards(runs.make(), reliability=text))
    assert audit is not None
    assert audit.rates == ()
    assert audit.notes == ("rewards/reliability.json holds no rates: how reliable the sources are is unknown.",)


def test_of_rates_without_end_the_first_are_shown(runs: Any) -> None:
    audit = read_rewards(runs.add_rewards(runs.make(), reliability={"rates": [RATE] * 500}))
    assert audit is not None
    assert len(audit.rates) == MOST_RATES
    assert audit.notes == ("rewards/reliability.json: 500 rates, of which the first 200 are shown.",)


def test_what_a_run_writes_is_read_whole(runs: Any) -> None:
    folder = runs.make()
    opinion = Opinion(source="maths", score=1.0, passed=True, reason="equal", seconds=0.001)
    parts = {"maths": {"score": 1.0}, "format_gate": {"mode": "slow", "fault": None}, "auxiliary": {"length": -0.25}}
    verdict = Verdict(score=0.75, passed=True, reason="equal", source="maths", details={"breakdown": parts})
    measured = {"source": "maths", "domain": "science"}
    trail = RewardTrail(folder / "rewards")
    trail.note(JudgedRow(id="7", domain="science", verdict=verdict, opinions=(opinion,)))
    trail.note_changes([Change(**measured, before="trusted", after="demoted", reason="wrong too often")])
    trail.keep_rates([Rate(**measured, claim="accept", origin="audit", audited=9, wrong=2, low=0.03, high=0.6)])
    audit = read_rewards(folder)
    assert audit is not None
    tally = audit.tallies.verdicts["maths", "science"]
    assert (tally.score.value, tally.correctness.value, tally.gate_faults.value) == (0.75, 1.0, 0.0)
    assert tally.auxiliary["length"].value == -0.25
    assert [(change.before, change.after) for change in audit.changes] == [("trusted", "demoted")]
    assert [(rate.is_accept, rate.share) for rate in audit.rates] == [(True, 2 / 9)]
    assert audit.notes == ()
