"""The scheduler's section of the README, made of its record: tables, figures, and the settings of each."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .figures import by_steps_per_version, frontier_name
from .terms import has_effect

Part = Mapping[str, Any]

_TERM_MEASURES = {
    "fresh_token_share": "fresh tokens",
    "trained_length_ratio": "trained length",
    "target_share_error": "task share error, run",
    "batch_arrival_share_error": "task share error, batch",
    "informativeness": "mean p(1-p)",
    "oldest_age_versions": "oldest age, versions",
}


def section(record: Mapping[str, Any], path: Path) -> str:
    parts: dict[str, Callable[[Part, Path], list[str]]] = {
        "cells": _cells,
        "terms": _terms,
        "controller": _controller,
        "scale": _scale,
    }
    lines = [provenance_line(record, path), ""]
    for name, part_lines in parts.items():
        if name in record["parts"]:
            lines += [*part_lines(record["parts"][name], path), ""]
    return "\n".join(lines)


def provenance_line(record: Mapping[str, Any], path: Path) -> str:
    machine, versions = record["machine"], record["versions"]
    local = " with local changes" if record["has_local_changes"] else ""
    return (
        f"From [`{path.name}`](results/{path.name}): commit {record['commit'][:9]}{local}, "
        f"Python {versions['python']}, verl {versions['verl']}, {machine['cores']} cores of {machine['processor']}."
    )


def target_rows(targets: Sequence[Mapping[str, Any]], *, asked: str = "asked") -> list[str]:
    rows = []
    for target in targets:
        verdict = (
            "yes" if target["met"] else "no; nobody can as prompts come" if target.get("is_possible") is False else "no"
        )
        rows.append([target["name"], target[asked], _share(target["measured"]), verdict])
    return _table(["what", "asked", "measured", "met"], rows)


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    columns = ["---", *["--:"] * (len(heading) - 1)]
    return ["| " + " | ".join(each) + " |" for each in (heading, columns, *rows)]


def _share(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3f}"


def _settings(settings: Mapping[str, Any]) -> str:
    words = [f"{name.replace('_', ' ')} {_said(value)}" for name, value in settings.items()]
    return f"Settings: {'; '.join(words)}."


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    if isinstance(value, dict):
        return " ".join(f"{name} {_said(each)}" for name, each in value.items())
    return str(value)


def _cells(figures: Part, path: Path) -> list[str]:
    marks = [(cell, cell["mark"]) for cell in figures["cells"]]
    rows = []
    for cell, mark in marks:
        reached = {True: "yes", False: "no", None: "no mark"}[mark["is_reached"]]
        asked = mark["asked_fresh_token_share"]
        rows.append(
            [
                cell["name"],
                f"{mark['best_verl']}: {_point(mark, 'best_verl')}",
                _share(asked),
                _named_point(mark, "ours_as_they_come"),
                _share(mark["most_fresh_token_share_as_they_come"]),
                _named_point(mark, "ours_in_waves"),
                _named_point(mark, "verl_in_waves"),
                _share(mark["wait_bound_share"]),
                reached,
            ]
        )
    heading = [
        "cell",
        "best verl mode: fresh / length",
        "asked",
        "ours as prompts come, at that length or more",
        "most possible so",
        "ours in waves",
        "verl's drop in our waves",
        "wait's bound_share",
        "reached",
    ]
    asked_of = [mark for _, mark in marks if mark["is_reached"] is not None]
    undominated = figures["undominated_verl_points"]
    return [
        "### Beside verl and others, cell by cell",
        "",
        *(
            f"![Fresh tokens against trained length in each cell, steps a version: {steps}]"
            f"(results/{path.stem}_{frontier_name(steps)}.svg)"
            for steps in by_steps_per_version(figures["cells"])
        ),
        "",
        *_table(heading, rows),
        "",
        f"Reached: {sum(mark['is_reached'] for mark in asked_of)} of {len(asked_of)} marks, "
        f"{sum(mark['is_reached_as_they_come'] for mark in asked_of)} of them with prompts as they come. verl's points "
        f"that none of ours equals or exceeds in both shares: {len(undominated)}"
        + "".join(f"; {found['cell']}: {found['point']}" for found in undominated)
        + ". `most possible so` is the limit of `scheduler_parts/limits.py` at the best verl mode's trained length, "
        "for batches in the order in which prompts come, whatever is masked. Waves need expected lengths; verl's "
        "drop in our waves is verl's rule on prompts that somebody has put into the same order beforehand.",
        "",
        _wait_line(figures["cells"]),
        "",
        _settings(figures["settings"]),
    ]


def _point(mark: Mapping[str, Any], whose: str) -> str:
    return f"{mark[f'{whose}_fresh_token_share']:.3f} / {mark[f'{whose}_trained_length_ratio']:.3f}"


def _named_point(mark: Mapping[str, Any], whose: str) -> str:
    return f"{mark[whose]}: {_point(mark, whose)}" if mark[whose] else "none that long"


def _wait_line(cells: Sequence[Mapping[str, Any]]) -> str:
    found = []
    for trace in dict.fromkeys(cell["trace"] for cell in cells):
        shares = [cell["mark"]["wait_bound_share"] for cell in cells if cell["trace"] == trace]
        found.append(f"{trace} {statistics.fmean(shares):.3f} ({min(shares):.3f} to {max(shares):.3f})")
    return f"bound_share of `wait`, mean of a trace's cells (lowest to highest cell): {'; '.join(found)}."


def _terms(figures: Part, path: Path) -> list[str]:
    rows = []
    for verdict in figures["verdicts"]:
        by_cell = [
            next(row["differences"] for row in cell["orders"] if row["order"] == verdict["order"])
            for cell in figures["cells"]
        ]
        cells = [_effects(name, [differences[name] for differences in by_cell]) for name in _TERM_MEASURES]
        weight = verdict["recommended_weight"]
        rows.append([verdict["order"], *cells, "-" if weight is None else f"{weight:g}"])
    return [
        "### Each priority term against first come, first served",
        "",
        *_table(["term and weight", *_TERM_MEASURES.values(), "weight that follows"], rows),
        "",
        f"Mean differences in the {len(figures['cells'])} cells ({figures['cells'][0]['name']} to "
        f"{figures['cells'][-1]['name']}), lowest to highest; in brackets in how many cells the 95% interval over the "
        "seeds excludes 0 and the mean is larger than a point (ages: a version).",
        "",
        _settings(figures["settings"]),
    ]


def _effects(name: str, differences: Sequence[Sequence[float]]) -> str:
    means = [difference[0] for difference in differences]
    num_effects = sum(has_effect(name, difference) for difference in differences)
    return f"{min(means):+.3f} to {max(means):+.3f} ({num_effects})"


def _controller(figures: Part, path: Path) -> list[str]:
    rows = []
    for course in figures["courses"]:
        starts = [found["effective_token_share"][0] for found in course["adaptive_from"].values()]
        best = course["best_fixed_bound_versions"]
        shares = {int(bound): share[0] for bound, share in course["fixed"].items()}
        rows.append(
            [
                course["name"],
                f"{shares[best]:.3f} (s = {best})",
                f"{min(shares.values()):.3f}",
                " / ".join(f"{share:.3f}" for share in starts),
                _share(course["of_best"]),
                course["asked"],
                "yes" if course["is_met"] else "no",
            ]
        )
    heading = ["course", "best fixed bound", "worst fixed bound", "controller, by its start",
               "worse start by the best fixed", "asked", "met"]  # fmt: skip
    return [
        "### The controller beside every fixed bound",
        "",
        f"![Effective tokens of controller and fixed bounds](results/{path.stem}_controller.svg)",
        "",
        *_table(heading, rows),
        "",
        _settings(figures["settings"]),
    ]


def _scale(figures: Part, path: Path) -> list[str]:
    rows = [
        [
            run["policy"],
            f"{run['trained_trajectories']:,}",
            f"{run['cpu_s']:.0f} s",
            f"{run['peak_memory_mib']:.0f} MiB",
        ]
        for run in figures["runs"]
    ]
    return [
        "### The simulator at scale",
        "",
        *_table(["policy", "trained trajectories", "CPU time on one core", "peak memory"], rows),
        "",
        _settings(figures["settings"]),
    ]
