"""Writes what was measured, and what commands print, into the README: nothing of either is typed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "systems" / "results"
COMMAND = Path(sys.executable).with_name("pangu-verl")


def main() -> None:
    readme = ROOT / "README.md"
    text = replaced(readme.read_text(), "figures: begin (make readme)", "figures: end", figures())
    text = replaced(text, "rewards: begin (make readme)", "rewards: end", reward_figures())
    with tempfile.TemporaryDirectory() as scratch:
        for command, output in outputs(Path(scratch)).items():
            text = replaced(text, f"output: {command}", "output: end", output())
    readme.write_text(text)


def replaced(text: str, begin: str, end: str, content: str) -> str:
    """``text`` with what stands between two comments exchanged."""
    block = re.compile(rf"(<!-- {re.escape(begin)} -->\n).*?(<!-- {re.escape(end)} -->)", re.DOTALL)
    changed, count = block.subn(lambda match: match[1] + content + match[2], text)
    if count != 1:
        raise SystemExit(f"the README has {count} places for {begin!r}, expected 1")
    return changed


# What commands print --------------------------------------------------------------------------------------------------


def outputs(scratch: Path) -> dict[str, Callable[[], str]]:
    """For each command in the README, what runs it."""
    return {
        "pangu-verl plugins": lambda: printed("plugins"),
        "pangu-verl train --dry-run": lambda: dry_run(scratch),
        "pangu-verl doctor": lambda: printed("doctor"),
        "pangu-verl simulate": lambda: printed("simulate", "--policy", "mask", "--trace", "heavy", "--staleness", "4"),
    }


def printed(*arguments: str, shown: str = "", keep: Callable[[list[str]], list[str]] = lambda lines: lines) -> str:
    """A command and its output as a block of code."""
    ended = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False)
    if ended.returncode == 2:
        raise SystemExit(f"pangu-verl {' '.join(arguments)}: {ended.stderr}")
    lines = keep(ended.stdout.replace(str(Path.cwd()), ".").rstrip().splitlines())
    return "\n".join(["```console", f"$ {shown or 'pangu-verl ' + ' '.join(arguments)}", *lines, "```", ""])


def dry_run(scratch: Path) -> str:
    """The plan of the quickstart on a model made on the spot; the resolved configuration above it is left out."""
    from pangu_verl.quickstart.problems import write_problems
    from pangu_verl.quickstart.tiny import make_tiny_model

    train_file, validation_file = write_problems(scratch / "data", 64, 64, 0)
    model = make_tiny_model(scratch / "model", lessons=0)
    overrides = (
        f"data.train_files={train_file}",
        f"data.val_files={validation_file}",
        f"actor_rollout_ref.model.path={model}",
    )
    return printed(
        *("train", "--config", "quickstart_tiny", "--dry-run", *overrides),
        shown="pangu-verl train --config quickstart_tiny --dry-run data.train_files=... | tail -n 12",
        keep=lambda lines: lines[-12:],
    )


# What was measured ----------------------------------------------------------------------------------------------------


def newest(pattern: str) -> dict[str, Any]:
    """The newest result of a benchmark."""
    paths = sorted(RESULTS.glob(pattern))
    if not paths:
        raise SystemExit(f"there is no {pattern} in {RESULTS}; run the benchmark")
    result: dict[str, Any] = json.loads(paths[-1].read_text())
    return result


def reward_figures() -> str:
    """What the rewards were asked for and what was measured, as a Markdown table."""
    result = newest("rewards_*.json")
    if result["has_local_changes"] or "endurance" not in result["parts"] or "maths" not in result["parts"]:
        raise SystemExit("the newest rewards_*.json is no whole run of a commit; run make benchmark-rewards")
    machine, versions = result["machine"], result["versions"]
    lines = ["| measured | asked | found |", "| --- | --: | --: |"]
    for target in result["targets"]:
        missed = "" if target["met"] else " (missed)"
        lines.append(f"| {target['name']} | {target['bound']} | {_short(target['measured'])}{missed} |")
    lines += [
        "",
        f"Medians of {result['repeats']} passes, beside Math-Verify {versions['math-verify']}, verl's scorers and "
        f"in-process grading in `benchmarks/systems/results/`; {machine['cores']} cores of {machine['processor']}; "
        f"commit {result['commit'][:9]}.",
    ]
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.3g}"


def figures() -> str:
    """The newest result of the quickstart's benchmark as a Markdown table."""
    result = newest("quickstart_smollm2_*.json")
    first = result["runs"][0]
    machine, versions = first["machine"], first["versions"]
    lines = [
        "| seed | right before | right after | gain in points (95% interval) "
        "| format failures | training | in all | memory |",
        "| --: | --: | --: | --: | --: | --: | --: | --: |",
        *(_line(run["seed"], run["summary"]) for run in result["runs"]),
        "",
        f"{first['summary']['rows']} unseen validation rows, sampled; {machine['cores']} cores of "
        f"{machine['processor']}, {machine['memory_gib']} GiB; verl {versions['verl']}, torch {versions['torch']}; "
        f"commit {first['commit'][:9]}.",
    ]
    return "\n".join(lines) + "\n"


def _line(seed: int, summary: dict[str, Any]) -> str:
    low, high = summary["interval"]
    return (
        f"| {seed} | {summary['accuracy_before']:.0%} | {summary['accuracy_after']:.0%} "
        f"| {100 * summary['gain']:+.0f} ({100 * low:.0f} to {100 * high:.0f}) "
        f"| {summary['format_failures_before']:.0%} → {summary['format_failures_after']:.0%} "
        f"| {summary['train_seconds'] / 60:.1f} min | {summary['total_seconds'] / 60:.1f} min "
        f"| {summary['peak_pss_gib']:.1f} GiB |"
    )


if __name__ == "__main__":
    main()
