"""Writes the measured figures into the README, from the newest results of ``benchmarks/systems``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "systems" / "results"
_BLOCK = re.compile(r"(<!-- figures: begin \(make readme\) -->\n).*?(<!-- figures: end -->)", re.DOTALL)


def main() -> None:
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("quickstart_smollm2_*.json"))]
    if not results:
        raise SystemExit(f"there are no results in {RESULTS}; run make benchmark")
    readme = ROOT / "README.md"
    text, count = _BLOCK.subn(lambda match: match[1] + table(results[-1]) + match[2], readme.read_text())
    if count != 1:
        raise SystemExit(f"{readme} lacks the markers of the figures")
    readme.write_text(text)


def table(result: dict[str, Any]) -> str:
    """The runs of one result as a Markdown table."""
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
