"""Ladder and state together: a source that drifts in the middle of a run, and one that is mended."""

from __future__ import annotations

from dataclasses import dataclass, field

from judged_rows import MadeSource, row, verdict

from pangu_verl.mars.ladder import Ladder, LadderOptions
from pangu_verl.mars.reliability import Change, Tolerance
from pangu_verl.mars.state import JudgedRow, RewardState
from pangu_verl.types import RewardRow, Verdict

OPTIONS = LadderOptions(audit_share=0.1)


@dataclass
class Run:
    """Rows of which every third is right, judged by a cheap source and a careful one above it."""

    is_gullible: bool = False
    changes: list[Change] = field(default_factory=list)
    paid_wrongly: list[int] = field(default_factory=list)
    rows: int = 0

    def __post_init__(self) -> None:
        self.state = RewardState(tolerance=Tolerance(error_rate=0.05, window_audits=150))
        self.careful = MadeSource("careful", lambda each: verdict(is_right(each), source="careful"))
        self.ladder = Ladder("math", [MadeSource("cheap", self.cheap), self.careful], OPTIONS)

    def cheap(self, each: RewardRow) -> Verdict:
        return verdict(True if self.is_gullible else is_right(each), source="cheap")

    async def judge(self, count: int) -> None:
        for _ in range(count):
            self.rows += 1
            each = row(str(self.rows), id=str(self.rows))
            shared = self.state.shared
            judged = await self.ladder.judge(each, shared)
            opinions = judged.opinions
            if self.ladder.audits(each):
                opinions = await self.ladder.audited(each, judged, shared)
            if judged.verdict.passed and not is_right(each):
                self.paid_wrongly.append(self.rows)
            found = JudgedRow(id=each.id, domain="math", verdict=judged.verdict, opinions=opinions)
            self.changes += self.state.record(found)[1]


def is_right(each: RewardRow) -> bool:
    return int(each.answer) % 3 == 0


async def test_a_source_that_turns_gullible_is_found_and_no_longer_believed_when_it_accepts() -> None:
    run = Run()
    await run.judge(1_000)
    assert (run.changes, run.paid_wrongly) == ([], [])
    run.is_gullible = True
    await run.judge(1_000)
    (change,) = run.changes
    assert (change.source, change.before, change.after) == ("cheap", "trusted", "accepts escalated")
    found_at = max(run.paid_wrongly)
    # One row in ten is audited, and the window still remembers the good days: about 20 audits show it.
    assert found_at < 1_300
    await run.judge(1_000)
    assert max(run.paid_wrongly) == found_at


async def test_a_source_that_was_mended_is_believed_again_and_the_other_is_left_in_peace() -> None:
    run = Run(is_gullible=True)
    await run.judge(200)
    run.is_gullible = False
    await run.judge(1_000)
    assert [change.after for change in run.changes] == ["accepts escalated", "trusted"]
    asked = len(run.careful.seen)
    await run.judge(1_000)
    assert len(run.careful.seen) - asked < 200


async def test_a_careful_source_costs_its_share_of_audits_alone() -> None:
    run = Run()
    await run.judge(2_000)
    assert 100 < len(run.careful.seen) < 300
