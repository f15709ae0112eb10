"""Whether our points reach what a cell asks for, and whether verl's have an answer in ours.

Shares are compared as they are printed, to three decimals: runs that train on everything differ by what is under way at
the end.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .limits import Limit
from .targets import Target

FACTOR = 1.08
MOST_ASKED = 0.97
#: From here on the best verl mode leaves too little to gain.
NEAR_CEILING = 0.90
EQUAL_WITHIN = 0.0005
LEAST_BOUND_SHARE = 0.95

Point = Mapping[str, Any]


def marked(bound_versions: int, points: Sequence[Point], limits: Sequence[Limit]) -> dict[str, Any]:
    """What is asked of a cell (None where it has no pass mark), what ours reach, and the most that anybody could."""
    verl = max((point for point in points if point["side"] == "verl"), key=_fresh)
    asked = min(FACTOR * _fresh(verl), MOST_ASKED)
    least_length = _length(verl) - EQUAL_WITHIN
    as_they_come, in_waves = (_best(points, side, least_length) for side in ("ours", "waves"))
    best = max(filter(None, (as_they_come, in_waves)), key=_fresh, default=None)
    has_mark = bound_versions > 1 and _fresh(verl) < NEAR_CEILING
    limit = statistics.fmean(limit.most_fresh(_length(verl)) for limit in limits)
    return {
        "best_verl": verl["point"],
        "best_verl_fresh_token_share": _fresh(verl),
        "best_verl_trained_length_ratio": _length(verl),
        "asked_fresh_token_share": asked if has_mark else None,
        **_described("ours", best),
        **_described("ours_as_they_come", as_they_come),
        **_described("ours_in_waves", in_waves),
        **_described("verl_in_waves", _best(points, "others", least_length, prefix="verl_drop in waves")),
        "is_reached": bool(best and _fresh(best) >= asked) if has_mark else None,
        "is_reached_as_they_come": bool(as_they_come and _fresh(as_they_come) >= asked) if has_mark else None,
        "most_fresh_token_share_as_they_come": limit,
        "wait_bound_share": next(point["bound_share"][0] for point in points if point["point"] == "wait"),
    }


def _best(points: Sequence[Point], side: str, least_length: float, prefix: str = "") -> Point | None:
    """The most fresh tokens of those that train on long enough responses."""
    found = [point for point in points if point["side"] == side and point["point"].startswith(prefix)]
    return max((point for point in found if _length(point) >= least_length), key=_fresh, default=None)


def _described(whose: str, point: Point | None) -> dict[str, Any]:
    return {
        whose: point and point["point"],
        f"{whose}_fresh_token_share": point and _fresh(point),
        f"{whose}_trained_length_ratio": point and _length(point),
    }


def undominated(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """verl's points for which no point of ours in their cell is as good in fresh tokens and in trained length."""
    return [
        {"cell": cell["name"], "point": verl["point"]}
        for cell in cells
        for verl in cell["points"]
        if verl["side"] == "verl" and not any(_is_no_worse(ours, verl) for ours in cell["points"])
    ]


def targets(cells: Sequence[Mapping[str, Any]]) -> list[Target]:
    found = []
    for cell in cells:
        mark = cell["mark"]
        if mark["asked_fresh_token_share"] is not None:
            asked, limit = mark["asked_fresh_token_share"], mark["most_fresh_token_share_as_they_come"]
            name = f"{cell['name']}: fresh tokens at a length ratio of {mark['best_verl_trained_length_ratio']:.2f}"
            reached = mark["ours_fresh_token_share"] or 0.0
            found.append(Target(name, f">= {asked:.3f}", reached, mark["is_reached"], asked <= limit))
    for trace in dict.fromkeys(cell["trace"] for cell in cells):
        share = statistics.fmean(cell["mark"]["wait_bound_share"] for cell in cells if cell["trace"] == trace)
        name = f"{trace}: bound_share of wait, mean of its cells"
        found.append(Target(name, f">= {LEAST_BOUND_SHARE}", share, share >= LEAST_BOUND_SHARE))
    left = len(undominated(cells))
    found.append(Target("verl's points that none of ours equals or exceeds in both", "<= 0", left, not left))
    return found


def _is_no_worse(ours: Point, verl: Point) -> bool:
    is_level = _fresh(ours) >= _fresh(verl) - EQUAL_WITHIN and _length(ours) >= _length(verl) - EQUAL_WITHIN
    return ours["side"] in ("ours", "waves") and is_level


def _fresh(point: Point) -> float:
    return float(point["fresh_token_share"][0])


def _length(point: Point) -> float:
    return float(point["trained_length_ratio"][0])
