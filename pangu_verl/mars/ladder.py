"""The sources of one domain in order, from the cheapest to the most trusted, and which of them judges a row.

The first rung judges. The next is asked where a rung could not judge, and where what it claimed (right or wrong) is
measured to be unreliable (``reliability.py``); then the next one's verdict counts. A rung that is unreliable in both
its claims is demoted and no longer asked. A share of the rows is audited: afterwards, and without any influence on the
verdict, a second rung is asked, which is the next above or one that was demoted.

Invariants: one verdict counts; a claim that is measured to be unreliable never counts where there is a rung above, so
if that cannot judge the row stays unjudged, while the last rung is believed for want of another; a rung above the first
is asked about at most budget x rows + ``BURST_ROWS`` rows, of those that this object has seen. Which rows are audited
is a hash of the row, so the same row is audited in every run. Nothing raises.
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
    """The verdict that counts, and the opinions on the way to it, in the order of the ladder."""

    verdict: Verdict
    opinions: tuple[Opinion, ...] = ()


class Routes(Protocol):
    """Which claims of which sources are measured to be unreliable."""

    def escalated(self, source: str, domain: str) -> frozenset[Claim]: ...


class _AllTrusted:
    """The routes where nothing was measured."""

    def escalated(self, source: str, domain: str) -> frozenset[Claim]:
        return frozenset()


ALL_TRUSTED: Routes = _AllTrusted()


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

    async def judge(self, row: RewardRow, routes: Routes = ALL_TRUSTED) -> Judged:
        """The verdict on a row of this domain."""
        self._rows += 1
        if not self.rungs:
            return Judged(verdict=unjudged("none", f"no reward source judges rows of domain {self.domain!r}"))
        opinions: list[Opinion] = []
        reasons: list[str] = []
        last_asked = self.rungs[0].name
        for rung in self._believed(routes):
            source = self.rungs[rung]
            if not self._may_ask(rung):
                reasons.append(f"reward source {source.name!r} has used up its budget of rows")
                continue
            verdict = await self._ask(rung, row)
            last_asked = source.name
            opinions.append(_opinion(verdict))
            if verdict.score is not None and opinions[-1].claim not in self._escalated(rung, routes):
                return Judged(verdict=verdict, opinions=tuple(opinions))
            reasons.append(_not_counted(verdict))
        return Judged(verdict=unjudged(last_asked, "; ".join(reasons)), opinions=tuple(opinions))

    def audits(self, row: RewardRow) -> bool:
        """Whether this row is one of those that are looked at twice."""
        text = "\0".join((row.id, row.domain, row.question, row.response)).encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
        return number < self._options.audit_share * 2**64

    async def audited(self, row: RewardRow, judged: Judged, routes: Routes = ALL_TRUSTED) -> tuple[Opinion, ...]:
        """The opinions on a judged row with that of an audit in its place; without one where nobody is there for it."""
        names = [source.name for source in self.rungs]
        deciding = names.index(judged.verdict.source) if judged.verdict.source in names else len(names)
        if judged.verdict.passed is None:
            return judged.opinions
        believed = self._believed(routes)
        demoted = [rung for rung in range(deciding) if rung not in believed]
        above = [rung for rung in believed if rung > deciding]
        rung = next(iter(demoted + above), None)
        if rung is None or not self._may_ask(rung):
            return judged.opinions
        opinion = replace(_opinion(await self._ask(rung, row)), is_audit=True)
        return (opinion, *judged.opinions) if rung in demoted else (*judged.opinions, opinion)

    def _believed(self, routes: Routes) -> list[int]:
        """The rungs that are believed in some claim; the last one always is."""
        return [rung for rung in range(len(self.rungs)) if len(self._escalated(rung, routes)) < len(CLAIMS)]

    def _escalated(self, rung: int, routes: Routes) -> frozenset[Claim]:
        is_last = rung == len(self.rungs) - 1
        return frozenset() if is_last else routes.escalated(self.rungs[rung].name, self.domain)

    def _may_ask(self, rung: int) -> bool:
        budget = self._options.budgets.get(self.rungs[rung].name, 1.0)
        if rung == 0 or budget >= 1.0:
            return True
        asked = self._asked.get(self.rungs[rung].name, 0)
        return budget > 0 and asked < budget * self._rows + BURST_ROWS

    async def _ask(self, rung: int, row: RewardRow) -> Verdict:
        source = self.rungs[rung]
        self._asked[source.name] = self._asked.get(source.name, 0) + 1
        return await ask(source, row, timeout_s=self._options.timeout_s)


def _opinion(verdict: Verdict) -> Opinion:
    return Opinion(
        source=verdict.source,
        score=verdict.score,
        passed=verdict.passed,
        reason=verdict.reason,
        seconds=verdict.seconds,
    )


def _not_counted(verdict: Verdict) -> str:
    if verdict.score is None:
        return verdict.reason
    claim = "right" if verdict.passed else "wrong"
    return f"reward source {verdict.source!r} says {claim}, which is measured to be unreliable"
