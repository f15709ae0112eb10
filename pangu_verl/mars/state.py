"""What has been judged so far in a run: counts, measured reliability, scales of preferences, and alarms.

One object holds it for all reward workers of a run (an actor does: ``integrations/verl/shared_state.py``). Invariants:
every row is counted once; memory does not grow with the rows; what ``to_json`` gives and ``restore`` takes is the same
state. The windows of the alarm are not kept over a restart, because the source may have been mended in between.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pangu_verl.mars.ladder import Claim, Opinion
from pangu_verl.mars.preference import Moments, RunningStatistics
from pangu_verl.mars.reliability import Change, Reliability, Tolerance
from pangu_verl.mars.tallies import Tallies, Tally, reason_class, tallies_from_json, tallies_to_json
from pangu_verl.types import Verdict

#: Project defaults: a source that leaves more than half of its last 256 rows unjudged is taken for broken.
UNJUDGED_LIMIT = 0.5
WINDOW_ROWS = 256
FORMAT = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedRow:
    """What became of one row: its composed verdict, whose source decided it or was the last that could not.

    ``preference`` is the task and the score as given, where the verdict is a preference (``mars/preference.py``).
    """

    id: str
    domain: str
    verdict: Verdict
    opinions: tuple[Opinion, ...] = ()
    preference: tuple[str, float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Shared:
    """What a reward worker has to know of what all of them have judged."""

    routes: Mapping[tuple[str, str], frozenset[Claim]]
    scales: Mapping[str, Moments]

    def escalated(self, source: str, domain: str) -> frozenset[Claim]:
        """As ``ladder.Routes``."""
        return self.routes.get((source, domain), frozenset())


class RewardState:
    """The state of a run. ``unjudged_limit`` is a share of ``window_rows``, the last rows of each source."""

    def __init__(
        self,
        *,
        unjudged_limit: float = UNJUDGED_LIMIT,
        window_rows: int = WINDOW_ROWS,
        tolerance: Tolerance | None = None,
    ) -> None:
        self._limit = unjudged_limit
        self._window_rows = window_rows
        self._tallies: Tallies = {}
        self._windows: dict[str, deque[str | None]] = {}
        self._preferences = RunningStatistics()
        self._scales: Mapping[str, Moments] = {}
        self.reliability = Reliability(tolerance or Tolerance())

    @property
    def tallies(self) -> Mapping[tuple[str, str], Tally]:
        """By source and domain."""
        return self._tallies

    @property
    def shared(self) -> Shared:
        """A copy, for the workers."""
        return Shared(routes=self.reliability.routes(), scales=self._scales)

    def publish_scales(self) -> None:
        """Let preferences be placed by what was seen up to now.

        Called between steps, so that the members of a group, which are compared, are placed on one scale.
        """
        self._scales = dict(self._preferences.moments)

    def record(self, row: JudgedRow) -> tuple[str | None, list[Change]]:
        """Count one row: the complaint if its source now judges too little, and changes of what is believed."""
        for opinion in row.opinions:
            self._tallies.setdefault((opinion.source, row.domain), Tally()).add(opinion)
        if row.preference is not None:
            self._preferences.add(*row.preference)
        return self._complaint(row), self.reliability.take_opinions(row.domain, row.opinions)

    def to_json(self) -> dict[str, Any]:
        """The state as JSON data."""
        return {
            "format": FORMAT,
            "tallies": tallies_to_json(self._tallies),
            "reliability": self.reliability.to_json(),
            "preferences": self._preferences.to_json(),
        }

    def restore(self, found: object) -> None:
        """Go on from the state that ``to_json`` gave; raises ``ValueError`` and changes nothing for anything else."""
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"expected the state of rewards in format {FORMAT}")
        tallies = tallies_from_json(found.get("tallies"))
        preferences = RunningStatistics.from_json(found.get("preferences"))
        self.reliability.restore(found.get("reliability"))
        self._tallies, self._preferences = tallies, preferences
        self.publish_scales()

    def _complaint(self, row: JudgedRow) -> str | None:
        source = row.verdict.source
        window = self._windows.setdefault(source, deque(maxlen=self._window_rows))
        window.append(None if row.verdict.score is not None else reason_class(row.verdict.reason))
        reasons = Counter(reason for reason in window if reason is not None)
        # Measured against the full window, so that a few rows at the start of a run are no alarm.
        if reasons.total() <= self._limit * self._window_rows:
            return None
        most_frequent, times = reasons.most_common(1)[0]
        return (
            f"reward source {source!r} could not judge {reasons.total()} of its last {len(window)} rows "
            f"({times} times: {most_frequent}), more than the share {self._limit:g} of {self._window_rows} that "
            "pangu.rewards.unjudged_limit allows; mend the source or the rows, or raise the limit"
        )
