"""Plays what ``pangu-verl simulate`` was asked for and says what came of it.

Invariant: nothing is written to disk. Advice and soaks, which leave a folder, are in ``simulation_runs``.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pangu_verl.simulate.order import Order, prepare, run_order, runs_a_seed, summary
from pangu_verl.simulate.scenario import BASELINES


def play(order: Order, console: Console) -> dict[str, Any]:
    """Run ``order`` for each of its seeds; the summary, with ``text`` for people."""
    prepare(order)
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("steps", total=order.steps * order.seeds * runs_a_seed(order))
        outcomes = run_order(order, lambda _: progress.advance(task))
    found = summary(outcomes)
    return {**found, "text": describe(order, found)}


def describe(order: Order, found: dict[str, Any]) -> str:
    """A few lines for people."""
    seeds = f", means of {order.seeds} seeds" if order.seeds > 1 else ""
    lines = [
        f"{found['policy']} with bound {found['staleness_bound']} on trace {found['trace']}: {found['steps']} steps of "
        f"{found['batch_groups']} groups x {found['trajectories']}, T/W {found['train_to_rollout_ratio']:.2f}, "
        f"{found['rollout_slots']} decode slots, {found['trainer_devices']} training devices{seeds}",
        _line("fresh tokens", found["fresh_token_share"], "of what devices that are never idle would train on"),
        _line("speed", found["ceiling_share"], "of the ceiling; the rest is idle time and work for nothing"),
        _line("schedule", found["bound_share"], "of the fastest that knows every length and keeps the bound"),
        _line(
            "trained length",
            found["trained_length_ratio"],
            "of the natural length (100%: long answers count in full)",
        ),
        _line("masked", found["masked_share"], "of the consumed tokens were over the bound and stayed out of the loss"),
        _line("given up", found["dropped_share"], "of all generations of a group were for nothing"),
        _line("trainer idle", found["trainer_idle_share"], f"of the time; rollout {found['rollout_idle_share']:.1%}"),
        f"  {'longest lag':<15}{found['max_trained_lag']:>7} versions; {found['violations']:,} trained tokens over s",
    ]
    if found["warm_up_batches"] is not None:
        lines.append(f"  the best of a sweep over warm-ups: {found['warm_up_batches']:g} batches")
    if course := found["bound_course"]:
        lines.append(
            f"  the controller moved the bound between {course['least']} and {course['most']}; last: {course['last']}"
        )
    if found["violations"] and order.policy in BASELINES:
        lines.append(f"  {order.policy} does not keep the bound that it was given")
    return "\n".join(lines)


def _line(name: str, share: float, meaning: str) -> str:
    return f"  {name:<15}{share:>7.1%} {meaning}"
