"""The runs in their order, and what is known of them so far.

Modes take turns within a repeat, so whatever changes on the machine meanwhile meets all of them. verl's warm-ups are
swept in the first repeat; from then on each of verl's modes runs with the one that was its best: that favours it.
With verl's own poll each runs once, at the first size.
Invariant: a cell runs once; one that was discarded or failed stands in the record and may run again with ``--resume``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import WARM_UPS, Scale, Size
from .modes import Mode, swept, unswept, with_stock_poll
from .running import Cell

Result = dict[str, Any]


@dataclass(slots=True)
class Matrix:
    """``chosen`` names the modes that are run, by how their names begin (empty: all)."""

    scale: Scale
    chosen: Sequence[str] = ()
    results: list[Result] = field(default_factory=list)

    def cells(self) -> Iterator[Cell]:
        """The next to run, in the light of what came of those before."""
        warm_ups = WARM_UPS if self.scale.repeats > 1 else WARM_UPS[:1]
        for repeat in range(self.scale.repeats):
            for size in self.scale.sizes:
                modes = [*unswept(), *(swept(warm_ups) if repeat == 0 else self._best_of_sweeps(size))]
                yield from self._cells(size, modes, repeat)
        size = self.scale.sizes[0]
        polled = [mode for mode in [*unswept(), *self._best_of_sweeps(size)] if mode.is_polled]
        yield from self._cells(size, [with_stock_poll(mode) for mode in polled], repeat=0)

    def num_cells(self) -> int:
        """At most: a mode that always failed is not repeated."""
        swept_once = len(swept(WARM_UPS if self.scale.repeats > 1 else WARM_UPS[:1]))
        families = len({mode.family for mode in swept(WARM_UPS[:1])})
        repeats, sizes = self.scale.repeats, len(self.scale.sizes)
        by_size = repeats * len(unswept()) + swept_once + (repeats - 1) * families
        return sizes * by_size + families + 1

    def add(self, result: Result) -> None:
        self.results.append(result)

    def _cells(self, size: Size, modes: Sequence[Mode], repeat: int) -> Iterator[Cell]:
        for mode in modes:
            if not self.chosen or mode.name.startswith(tuple(self.chosen)):
                yield Cell(size=size, mode=mode, seed=repeat)

    def _best_of_sweeps(self, size: Size) -> list[Mode]:
        """One mode of each family: that with the most fresh tokens in the first repeat."""
        shares = {
            result["told"]["mode"]: result["fresh_token_share"]
            for result in self.results
            if result["told"]["size"] == size.name and counts(result) and result["told"]["seed"] == 0
        }
        best: dict[str, Mode] = {}
        for mode in swept():
            known = best.get(mode.family)
            if mode.name in shares and (known is None or shares[mode.name] > shares[known.name]):
                best[mode.family] = mode
        return list(best.values())


def counts(result: Result) -> bool:
    """Whether a result is a figure: the run ended well and left the machine time to spare."""
    return "error" not in result and not result["is_discarded"]


def run_all(matrix: Matrix, run: Callable[[Cell], Result], tell: Callable[[Cell, Result], None]) -> None:
    """``tell`` is told of each result as it comes."""
    for cell in matrix.cells():
        result = run(cell)
        matrix.add(result)
        tell(cell, result)
