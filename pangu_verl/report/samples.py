"""Which answers to show side by side: some fixed, some broken, some unchanged, by a fixed seed.

Invariant: the choice depends on the prompts and their outcomes alone, not on the order of rows in the files, so that
the report of a folder is the same every time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from pangu_verl.report.validation import Validation, ValidationRow, rows_by_prompt

_SEED = 20250522
# the outcome (before, after), how it is called, and how many of twelve rows it gets if there are enough
_KINDS: tuple[tuple[tuple[bool, bool], str, int], ...] = (
    ((False, True), "fixed", 4),
    ((True, False), "broken", 3),
    ((False, False), "still wrong", 3),
    ((True, True), "still right", 2),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One prompt with an answer before and one after."""

    kind: str
    before: ValidationRow
    after: ValidationRow


def choose_samples(before: Validation | None, after: Validation | None, count: int = 12) -> tuple[Sample, ...]:
    """Up to ``count`` samples, kind by kind. Places that a kind cannot fill go to the others in turn."""
    if before is None or after is None:
        return ()
    pools = _pools(before, after)
    quotas = [min(quota, len(pool)) for (_, _, quota), pool in zip(_KINDS, pools, strict=True)]
    while sum(quotas) < count and any(quota < len(pool) for quota, pool in zip(quotas, pools, strict=True)):
        for index, pool in enumerate(pools):
            if quotas[index] < len(pool) and sum(quotas) < count:
                quotas[index] += 1
    return tuple(sample for quota, pool in zip(quotas, pools, strict=True) for sample in pool[:quota])[:count]


def _pools(before: Validation, after: Validation) -> Sequence[list[Sample]]:
    """Per kind, all its samples in a shuffled order."""
    earlier, later = rows_by_prompt(before.judged), rows_by_prompt(after.judged)
    pools: dict[tuple[bool, bool], list[Sample]] = {outcome: [] for outcome, _, _ in _KINDS}
    names = {outcome: name for outcome, name, _ in _KINDS}
    for prompt in sorted(earlier.keys() & later.keys()):
        first, last = (min(rows[prompt], key=lambda row: row.output) for rows in (earlier, later))
        outcome = (bool(first.passed), bool(last.passed))
        pools[outcome].append(Sample(kind=names[outcome], before=first, after=last))
    generator = random.Random(_SEED)
    for pool in pools.values():
        generator.shuffle(pool)
    return list(pools.values())
