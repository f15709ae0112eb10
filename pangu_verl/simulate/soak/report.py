"""What came of a soak, as one record: ``pangu-verl simulate --soak --json`` prints it, and the page is made of it.

Invariant: every field is a number, a text or an object of these. Seconds are of wall time over all lives that were seen
to end; all else is counted from what the lives left on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pangu_verl.simulate.soak.audit import Breach, Findings
from pangu_verl.simulate.soak.kills import Aim
from pangu_verl.simulate.soak.lives import LifeEnd
from pangu_verl.simulate.soak.order import SoakOrder


@dataclass(frozen=True, kw_only=True, slots=True)
class SoakReport:
    """``breaches`` are all 0 in a soak that holds, and ``first_breach`` is then None.

    ``samples`` and ``trained_groups`` are those of the lineage. ``kills_by_aim`` counts kills that were made;
    ``kills_in_transactions`` those of them that fell inside an open transaction of the ledger for certain.
    ``other_ends`` are lives that ended with their supervisor. ``of_resumptions`` and ``of_lives`` are sums:

    - ``reopened_groups``: trained on after the cut, and open again; ``readmitted_groups``: admitted after the cut;
    - ``interrupted_groups``: ran at the cut; ``kept_trajectories``: what live groups have kept of their work;
    - ``regenerated_trajectories``: their payload was lost; ``purged_orphans``: payloads that stood for nothing;
    - ``lost_trajectories``: finished after the cut; ``wasted_tokens``: finished, then given up with their group;
    - ``repeated_answers``, ``late_answers``: sent on purpose, each refused.
    """

    order: Mapping[str, Any]
    samples: int
    steps: int
    trained_groups: int
    live_groups: int
    abandoned_groups: int
    taken_back_groups: int
    trained_tokens: int
    masked_tokens: int
    max_trained_lag: int
    kills: int
    kills_by_aim: Mapping[str, int]
    kills_in_transactions: int
    other_ends: int
    resumptions: int
    of_resumptions: Mapping[str, int]
    of_lives: Mapping[str, int]
    breaches: Mapping[str, int]
    first_breach: str | None
    seconds: float
    samples_per_s: float

    def to_json(self) -> dict[str, Any]:
        """The record as plain objects, for ``json.dumps``."""
        return asdict(self)


def summarise(order: SoakOrder, findings: Findings, ends: Sequence[LifeEnd], lives: Collection[int]) -> SoakReport:
    """``ends`` of lives that were seen to end, ``lives`` of which something is on disk."""
    seconds = sum(end.seconds for end in ends)
    aims = Counter(end.aim for end in ends)
    samples = findings.trained_groups * order.trajectories
    lags = [lag for lag, tokens in findings.trained_tokens_by_lag.items() if tokens]
    return SoakReport(
        order=asdict(order),
        samples=samples,
        steps=findings.trained_groups // order.batch_groups,
        trained_groups=findings.trained_groups,
        live_groups=findings.live_groups,
        abandoned_groups=findings.abandoned_groups,
        taken_back_groups=findings.taken_back_groups,
        trained_tokens=findings.trained_tokens_by_lag.total(),
        masked_tokens=findings.masked_tokens,
        max_trained_lag=max(lags, default=0),
        kills=sum(aims[aim] for aim in Aim),
        kills_by_aim={aim.value: aims[aim] for aim in Aim},
        kills_in_transactions=sum(end.is_in_transaction for end in ends),
        other_ends=len(set(lives) - {end.life for end in ends}),
        resumptions=findings.resumptions,
        of_resumptions=dict(sorted(findings.of_resumptions.items())),
        of_lives=dict(sorted(findings.of_lives.items())),
        breaches={breach.value: findings.breaches[breach] for breach in Breach},
        first_breach=findings.first,
        seconds=seconds,
        samples_per_s=samples / seconds if seconds else 0.0,
    )
