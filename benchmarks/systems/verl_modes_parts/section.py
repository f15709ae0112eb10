"""The section of the README: targets, figure, a row for each mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scheduler_parts.markdown import provenance_line, target_rows

from .modes import SHORT_POLL_S

_HEADING = (
    "| mode | fresh tokens (lowest to highest) | by sync | ceiling share | trained length | largest lag | s a step | "
    "simulated, error | processors | runs |"
)


def section(record: Mapping[str, Any], path: Path) -> str:
    lines = [
        f"**{record['notice'].capitalize()}.** Times are those of sleeps; verl, Ray, TransferQueue and the scheduler "
        "are real, and so is what they cost.",
        "",
        *target_rows(record["targets"]),
        "",
        *(
            f"![Fresh tokens of trainer modes](results/{file.name})\n"
            for file in sorted(path.parent.glob(f"{path.stem}*.svg"))
        ),
    ]
    polls = dict.fromkeys((row["size"], row["poll_s"]) for row in record["rows"])
    for size, poll_s in polls:
        rows = [row for row in record["rows"] if (row["size"], row["poll_s"]) == (size, poll_s)]
        poll = "" if poll_s == SHORT_POLL_S else f", verl's buffers with their own poll of {poll_s:g} s"
        lines += [f"### {size}{poll}", "", *_table(rows), ""]
    lines += [_settings(record), "", provenance_line(record, path)]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    sync = next((row for row in rows if row["family"] == "sync" and row["runs"]), None)
    lines = [_HEADING, "| --- |" + " --: |" * 9]
    return [*lines, *(_line(row, sync) for row in rows)]


def _line(row: Mapping[str, Any], sync: Mapping[str, Any] | None) -> str:
    others = [f"{row[name]} {name}" for name in ("discarded", "failed") if row[name]]
    runs = ", ".join([str(row["runs"]), *others])
    if not row["runs"]:
        return f"| {row['mode']} |" + " - |" * 8 + f" {runs} |"
    low, high = row["fresh_token_share_range"]
    by_sync = f"{row['fresh_token_share'] / sync['fresh_token_share']:.2f}" if sync else "-"
    forecast = "-"
    if row["prediction_error"] is not None:
        forecast = f"{row['predicted_fresh_token_share']:.3f}, {row['prediction_error']:+.1%}"
    cells = [
        row["mode"],
        f"{row['fresh_token_share']:.3f} ({low:.3f} to {high:.3f})",
        by_sync,
        f"{row['ceiling_share']:.3f}",
        f"{row['trained_length_ratio']:.3f}",
        row["max_trained_lag"],
        f"{row['step_s']:.2f}",
        forecast,
        f"{row['processor_share']:.0%}",
        runs,
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def _settings(record: Mapping[str, Any]) -> str:
    settings = record["settings"]
    return (
        f"Medians of {settings['repeats']} repeats in turn; bound {settings['bound_versions']}; "
        f"{settings['trajectories']} trajectories a group, lengths {settings['trace']} with a mean of "
        f"{settings['mean_tokens']} tokens before the cap; "
        f"T/W = {settings['train_to_rollout_ratio']}; {settings['measured_steps']} steps measured after "
        f"{settings['first_steps']} ({settings['measured_steps_sync']} of sync); a step at the ceiling takes "
        f"{settings['ceiling_step_s']:g} s. Decode rates: {settings['rates_from']}. Runs that take more than "
        f"{settings['most_processor_share']:.0%} of the processors are discarded."
    )
