"""Who judges a row, and whose verdict counts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged_rows import MadeSource, always, row

from pangu_verl.mars.ladder import ALL_TRUSTED, BURST_ROWS, Claim, Judged, Ladder, LadderOptions, Routes

UNAUDITED = LadderOptions(audit_share=0.0)
BOTH: frozenset[Claim] = frozenset({"accept", "reject"})


class Escalated:
    """Routes by the name of a source."""

    def __init__(self, claims: Mapping[str, frozenset[Claim]]) -> None:
        self._claims = claims

    def escalated(self, source: str, domain: str) -> frozenset[Claim]:
        return self._claims.get(source, frozenset())


def ladder(*rungs: MadeSource, options: LadderOptions = UNAUDITED) -> Ladder:
    return Ladder("math", rungs, options)


def asked(judged: Judged) -> str:
    return " ".join(opinion.source + "?" * opinion.is_audit for opinion in judged.opinions)


async def test_the_first_rung_judges_alone() -> None:
    upper = always("upper", False)
    judged = await ladder(always("first", True), upper).judge(row())
    assert (judged.verdict.source, judged.verdict.passed, asked(judged)) == ("first", True, "first")
    assert upper.seen == []


async def test_the_next_is_asked_where_one_could_not_judge() -> None:
    judged = await ladder(always("first", None), always("second", None), always("third", False)).judge(row())
    assert (judged.verdict.source, judged.verdict.passed, asked(judged)) == ("third", False, "first second third")


async def test_where_nobody_can_judge_each_says_why() -> None:
    judged = await ladder(always("first", None), always("second", None)).judge(row())
    assert (judged.verdict.score, judged.verdict.passed) == (None, None)
    assert judged.verdict.reason == "first says so; second says so"


async def test_a_preference_is_a_judgement() -> None:
    judged = await ladder(always("first", None, score=0.3), always("second", True)).judge(row())
    assert (judged.verdict.source, judged.verdict.score) == ("first", 0.3)


@pytest.mark.parametrize(("passed", "decided_by"), [(True, "second"), (False, "first")])
async def test_a_claim_that_is_not_believed_goes_up(passed: bool, decided_by: str) -> None:
    routes = Escalated({"first": frozenset({"accept"})})
    judged = await ladder(always("first", passed), always("second", False)).judge(row(), routes)
    assert judged.verdict.source == decided_by


async def test_a_claim_that_is_not_believed_never_counts() -> None:
    routes = Escalated({"first": frozenset({"accept"})})
    judged = await ladder(always("first", True), always("second", None)).judge(row(), routes)
    assert (judged.verdict.score, judged.verdict.passed) == (None, None)
    assert judged.verdict.reason == (
        "reward source 'first' says right, which is measured to be unreliable; second says so"
    )


async def test_the_last_rung_is_believed_for_want_of_another() -> None:
    judged = await ladder(always("only", True)).judge(row(), Escalated({"only": BOTH}))
    assert judged.verdict.passed is True


async def audit(*rungs: MadeSource, routes: Routes = ALL_TRUSTED) -> str:
    climbing = ladder(*rungs)
    judged = await climbing.judge(row(), routes)
    opinions = await climbing.audited(row(), judged, routes)
    assert [opinion for opinion in opinions if not opinion.is_audit] == list(judged.opinions)
    return asked(Judged(verdict=judged.verdict, opinions=opinions))


async def test_a_demoted_rung_is_asked_in_audits_alone() -> None:
    first, second = always("first", True), always("second", False)
    routes = Escalated({"first": BOTH})
    assert asked(await ladder(first, second).judge(row(), routes)) == "second"
    assert await audit(first, second, routes=routes) == "first? second"


async def test_an_audit_asks_the_next_that_is_believed() -> None:
    rungs = (always("first", True), always("second", False), always("third", False))
    assert await audit(*rungs) == "first second?"
    assert await audit(*rungs, routes=Escalated({"second": BOTH})) == "first third?"


@pytest.mark.parametrize("passed", [None, True])
async def test_the_last_rung_and_what_nobody_could_judge_have_no_audit(passed: bool | None) -> None:
    assert await audit(always("first", None), always("second", passed)) == "first second"


async def test_a_preference_has_no_audit() -> None:
    assert await audit(always("first", None, score=0.3), always("second", True)) == "first"


@given(share=st.sampled_from([0.0, 0.1, 0.5, 1.0]), answers=st.lists(st.text(max_size=5), max_size=50, unique=True))
def test_the_same_rows_are_audited_in_every_run(share: float, answers: list[str]) -> None:
    options = LadderOptions(audit_share=share)
    first, second = Ladder("math", [], options), Ladder("math", [], options)
    marks = [first.audits(row(answer)) for answer in answers]
    assert marks == [second.audits(row(answer)) for answer in answers]
    assert all(marks) if share == 1.0 else (not any(marks) or share > 0)


def test_about_the_share_of_rows_is_audited() -> None:
    rows = [row(str(number), id=str(number)) for number in range(5_000)]
    audited = sum(Ladder("math", [], LadderOptions(audit_share=0.1)).audits(each) for each in rows)
    assert 400 < audited < 600


async def test_a_lone_surrogate_can_be_audited() -> None:
    assert ladder(options=LadderOptions(audit_share=1.0)).audits(row("\ud800"))


def test_rows_without_an_id_are_told_apart_by_their_question() -> None:
    rows = [row("A", id="", question=f"Question {number}?") for number in range(1_000)]
    assert 50 < sum(Ladder("choice", [], LadderOptions(audit_share=0.1)).audits(each) for each in rows) < 150


@given(share=st.floats(0, 1), rows=st.integers(1, 100))
async def test_a_budget_bounds_how_many_rows_go_up(share: float, rows: int) -> None:
    upper = always("upper", True)
    options = LadderOptions(audit_share=0.0, budgets={"upper": share})
    climbing = ladder(always("first", None), upper, options=options)
    judged = [await climbing.judge(row(str(number))) for number in range(rows)]
    assert len(upper.seen) <= share * rows + BURST_ROWS + 1
    assert share > 0 or not upper.seen
    unjudged = [each.verdict for each in judged if each.verdict.score is None]
    assert len(unjudged) == rows - len(upper.seen)
    assert all("'upper' has used up its budget of rows" in verdict.reason for verdict in unjudged)
    # Who was not asked is not to blame.
    assert {verdict.source for verdict in unjudged} <= {"first"}


async def test_an_audit_keeps_to_the_budget() -> None:
    upper = always("upper", True)
    climbing = ladder(always("first", True), upper, options=LadderOptions(budgets={"upper": 0.0}))
    judged = await climbing.judge(row())
    assert await climbing.audited(row(), judged) == judged.opinions
    assert upper.seen == []


async def test_no_rung_at_all_is_a_reason() -> None:
    assert (await ladder().judge(row())).verdict.reason == "no reward source judges rows of domain 'math'"
