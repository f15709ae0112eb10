"""The sources of one domain in order, from the cheapest to the most trusted, and which of them judges a row.

The first rung judges. The next is asked where a rung could not judge, and where what it claimed (right or wrong) is
measured to be unreliable (``reliability.py``); then the next one's verdict counts. A share of the other rows is
audited: the next rung is asked as well, and its opinion is recorded without counting. A rung that is unreliable in both
its claims is demoted: only audits still ask it.

Invariants: one verdict counts; a claim that is measured to be unreliable never counts, so where nobody above can judge
the row stays unjudged; a rung above the first is asked for at most its budget, a share of the domain's rows. Which rows
are audited is a hash of the row, so the same row is audited in every run. Nothing raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from pangu_verl.mars.asking import ask, unjudged
from pangu_verl.types import RewardRow, RewardSource, Verdict

Claim = Literal["accept", "reject"]
CLAIMS: tuple[Claim, ...] = ("accept", "reject")

#: Rows that a budget allows beyond its share, so that the first rows of a run can be handed on at all.
BURST_ROWS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """What one source said of a row. ``is_audit``: it was asked to check another, and does not count."""

    source: str
    score: float | None
    passed: bool | None
    reason: str
    seconds: float
    is_audit: bool = False

    @property
    def claim(self) -> Claim | None:
        """None where the source could not judge, or speaks of liking alone."""
        return None if self.passed is None else "accept" if self.passed else "reject"


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """The verdict that counts, and all opinions in the order of the ladder."""

    verdict: Verdict
    opinions: tuple[Opinion, ...] = ()


class Routes(Protocol):
    """Which claims of which sources are measured to be unreliable."""

    def escalated(self, source: str, domain: str) -> frozenset[Claim]: ...


class AllTrusted:
    """The routes where nothing was measured."""

    def escalated(self, source: str, domain: str) -> frozenset[Claim]:
        return frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class LadderOptions:
    """``budgets``: the share of a domain's rows that a source above the first may be asked about. Project defaults."""

    audit_share: float = 0.02
    budgets: Mapping[str, float] = field(default_factory=dict)
    timeout_s: float | None = 1800.0


class Ladder:
    """The rungs of one domain. Used by one event loop."""

    def __init__(self, domain: str, rungs: Sequence[RewardSource], options: LadderOptions | None = None) -> None:
        self.domain = domain
        self.rungs = tuple(rungs)
        self._options = options or LadderOptions()
        self._rows = 0
        self._asked: dict[str, int] = {}

    async def judge(self, row: RewardRow, routes: Routes | None = None) -> Judged:
        """The verdict on a row of this domain, with all opinions that it rests on."""
        self._rows += 1
        return await _Judging(self, row, routes or AllTrusted()).judged()

    async def ask(self, rung: int, row: RewardRow) -> Verdict:
        """The opinion of one rung, which its budget has to allow."""
        source = self.rungs[rung]
        if rung > 0:
            asked = self._asked.get(source.name, 0)
            if asked >= self._options.budgets.get(source.name, 1.0) * self._rows + BURST_ROWS:
                return unjudged(source.name, f"reward source {source.name!r} has used up its budget of rows")
            self._asked[source.name] = asked + 1
        return await ask(source, row, timeout_s=self._options.timeout_s)

    def audits(self, row: RewardRow) -> bool:
        """Whether this row is one of those that are looked at twice."""
        text = "\0".join((row.id, row.domain, row.answer)).encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
        return number < self._options.audit_share * 2**64


class _Judging:
    """One row on its way up."""

    def __init__(self, ladder: Ladder, row: RewardRow, routes: Routes) -> None:
        self._ladder = ladder
        self._row = row
        self._routes = routes
        self._opinions: list[Opinion] = []

    async def judged(self) -> Judged:
        last = len(self._ladder.rungs) - 1
        is_audited = last > 0 and self._ladder.audits(self._row)
        reasons: list[str] = []
        verdict = unjudged("none", f"no reward source judges rows of domain {self._ladder.domain!r}")
        for rung, source in enumerate(self._ladder.rungs):
            escalated = self._escalated(source) if rung < last else frozenset()
            if len(escalated) == len(CLAIMS) and not is_audited:
                continue
            verdict = await self._ladder.ask(rung, self._row)
            opinion = self._note(verdict)
            if verdict.score is not None and opinion.claim not in escalated:
                if is_audited and rung < last and opinion.claim is not None:
                    self._note(await self._ladder.ask(rung + 1, self._row), is_audit=True)
                return Judged(verdict=verdict, opinions=tuple(self._opinions))
            reasons.append(_not_counted(verdict))
        return Judged(
            verdict=replace(verdict, score=None, passed=None, reason="; ".join(reasons) or verdict.reason),
            opinions=tuple(self._opinions),
        )

    def _escalated(self, source: RewardSource) -> frozenset[Claim]:
        return self._routes.escalated(source.name, self._ladder.domain)

    def _note(self, verdict: Verdict, *, is_audit: bool = False) -> Opinion:
        opinion = Opinion(
            source=verdict.source,
            score=verdict.score,
            passed=verdict.passed,
            reason=verdict.reason,
            seconds=verdict.seconds,
            is_audit=is_audit,
        )
        self._opinions.append(opinion)
        return opinion


def _not_counted(verdict: Verdict) -> str:
    if verdict.score is None:
        return verdict.reason
    claim = "right" if verdict.passed else "wrong"
    return f"reward source {verdict.source!r} says {claim}, which is measured to be unreliable"
