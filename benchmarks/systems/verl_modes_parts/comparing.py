"""Medians over the repeats, and what they are held to."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from scheduler_parts.targets import Target

from . import BOUND_VERSIONS
from .matrix import counts
from .modes import SHORT_POLL_S

LEAST_OVER_SYNC, LEAST_OVER_VERL = 1.5, 1.1
MOST_PREDICTION_ERROR = 0.10
_FIGURES = (
    "fresh_token_share",
    "ceiling_share",
    "trained_length_ratio",
    "step_s",
    "processor_share",
    "prediction_error",
)

Row = dict[str, Any]


def rows_of(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One for each mode at a size and a poll, in the order of their first results; figures are medians."""
    grouped: dict[tuple[str, str, float], list[Mapping[str, Any]]] = {}
    for result in results:
        told = result["told"]
        grouped.setdefault((told["size"], told["mode"], told["poll_s"]), []).append(result)
    return [_row(*key, found) for key, found in grouped.items()]


def _row(size: str, mode: str, poll_s: float, results: Sequence[Mapping[str, Any]]) -> Row:
    kept = [result for result in results if counts(result)]
    row: Row = {
        "size": size,
        "mode": mode,
        "family": results[0]["told"]["family"],
        "side": results[0]["told"]["side"],
        "poll_s": poll_s,
        "runs": len(kept),
        "discarded": sum(bool(result.get("is_discarded")) for result in results),
        "failed": sum("error" in result for result in results),
    }
    if kept:
        row |= {name: _median([result[name] for result in kept]) for name in _FIGURES}
        row["fresh_token_share_range"] = [edge(result["fresh_token_share"] for result in kept) for edge in (min, max)]
        row["max_trained_lag"] = max(result["max_trained_lag"] for result in kept)
        forecasts = [result["predicted"] and result["predicted"]["fresh_token_share"] for result in kept]
        row["predicted_fresh_token_share"] = _median(forecasts)
    return row


def _median(values: Sequence[float | None]) -> float | None:
    """None where a mode has no such figure."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def compared(rows: Sequence[Row]) -> list[Target]:
    """With the short poll alone. Ours are those whose trained length is no lower than that of the best of verl's."""
    targets = []
    for size in dict.fromkeys(row["size"] for row in rows):
        found = [row for row in rows if row["size"] == size and row["poll_s"] == SHORT_POLL_S and row["runs"]]
        verl = [row for row in found if row["side"] == "verl" and row["family"] != "sync" and _keeps_bound(row)]
        sync = [row for row in found if row["family"] == "sync"]
        if verl and sync:
            targets += _beside(size, found, max(verl, key=_fresh), sync[0])
        if errors := [abs(row["prediction_error"]) for row in found if row["prediction_error"] is not None]:
            worst = max(errors)
            name = f"{size}: largest error of the simulator's fresh-token share"
            targets.append(Target(name, f"<= {MOST_PREDICTION_ERROR}", worst, worst <= MOST_PREDICTION_ERROR))
        if lags := [row["max_trained_lag"] for row in found if row["side"] == "ours"]:
            name = f"{size}: largest lag that ours trained on, versions"
            targets.append(Target(name, f"<= {BOUND_VERSIONS}", max(lags), max(lags) <= BOUND_VERSIONS))
    return targets


def _beside(size: str, rows: Sequence[Row], best: Row, sync: Row) -> list[Target]:
    long_enough = [
        row for row in rows if row["side"] == "ours" and row["trained_length_ratio"] >= best["trained_length_ratio"]
    ]
    over = {f"the best of verl's ({best['mode']})": (best, LEAST_OVER_VERL), "sync": (sync, LEAST_OVER_SYNC)}
    targets = []
    for name, (other, least) in over.items():
        ours = max(map(_fresh, long_enough), default=0.0) / _fresh(other)
        targets.append(Target(f"{size}: fresh tokens of ours, by those of {name}", f">= {least}", ours, ours >= least))
    return targets


def _keeps_bound(row: Row) -> bool:
    """At the same bound is what is asked: a mode that trains on older tokens is shown and not compared with."""
    keeps: bool = row["max_trained_lag"] <= BOUND_VERSIONS
    return keeps


def _fresh(row: Row) -> float:
    share: float = row["fresh_token_share"]
    return share
