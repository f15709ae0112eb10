"""``report.html``: one file that needs no network, no script and no other file.

Invariants: what ``rendering`` holds of every page; a policy in the page's head forbids scripts and requests as a second
line of defence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from pangu_verl.errors import WrongUse
from pangu_verl.report import wording
from pangu_verl.report.comparison import Comparison, compare
from pangu_verl.report.facts import RunFacts
from pangu_verl.report.figures import all_figures
from pangu_verl.report.line_figures import swatch
from pangu_verl.report.outcome import banner, headline, remarks
from pangu_verl.report.rendering import render, write_page
from pangu_verl.report.reward_figures import reward_figures
from pangu_verl.report.reward_tallies import MOST_TERMS
from pangu_verl.report.rewards import RewardAudit, read_rewards
from pangu_verl.report.run_folder import RunFolder, read_run_folder
from pangu_verl.report.samples import choose_samples
from pangu_verl.report.statistics import METHOD
from pangu_verl.report.timeline import build_timeline

REPORT_NAME = "report.html"
_FOLD_CHARACTERS, _FOLD_LINES, _PREVIEW_CHARACTERS = 600, 14, 240
_MOST_CHARACTERS = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """Text of any length: whole if short, else folded behind ``preview``; ``missing`` characters are left out."""

    whole: str
    preview: str | None
    characters: int
    missing: int


def build_report(run_dir: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path; also ``timeline.html`` if there is a timeline."""
    folder = read_run_folder(run_dir)
    try:
        timeline = build_timeline(folder)
    except WrongUse as damage:
        timeline, folder = None, replace(folder, notes=(*folder.notes, f"{damage}."))
    return write_page(run_dir / REPORT_NAME, _render(folder, compare(folder), read_rewards(run_dir), timeline))


def _render(folder: RunFolder, comparison: Comparison, rewards: RewardAudit | None, timeline: str | None) -> str:
    facts = folder.facts
    return render(
        "page.html.jinja",
        ("page.css",),
        title=facts.name or folder.path.resolve().name,
        facts=facts,
        banner=banner(facts, folder.path),
        headline=headline(folder, comparison),
        remarks=list(remarks(comparison)),
        key_figures=list(_key_figures(folder, comparison)),
        figures=all_figures(folder, comparison.points),
        timeline=timeline,
        comparison=comparison,
        scores={source: (series[0], series[-1]) for source, series in folder.validation_scores().items()},
        rewards=rewards,
        reward_figures=reward_figures(folder) if rewards else [],
        most_terms=MOST_TERMS,
        swatch=swatch,
        samples=choose_samples(comparison.before, comparison.after),
        about=[*_about(facts), *_agreement(folder)],
        files=[(name, quote(os.fsencode(name))) for name in folder.file_names()],
        notes=[*folder.notes, *comparison.notes, *(rewards.notes if rewards else ())],
        method=METHOD,
        fold=fold,
    )


def fold(text: str) -> Text:
    """Decide how much of a text is shown at once."""
    shown = text[:_MOST_CHARACTERS]
    is_long = len(text) > _FOLD_CHARACTERS or text.count("\n") >= _FOLD_LINES
    preview = " ".join(text[:_PREVIEW_CHARACTERS].split()) + " …" if is_long else None
    return Text(whole=shown, preview=preview, characters=len(text), missing=len(text) - len(shown))


def _key_figures(folder: RunFolder, comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    """The numbers at the top: what it is, its value, and a line of explanation."""
    facts, before, after, gain = folder.facts, comparison.before, comparison.after, comparison.gain
    digits = wording.accuracy_digits(gain) if gain else 2
    accuracies = (wording.share(value, digits) for value in (comparison.accuracy_before, comparison.accuracy_after))
    yield (
        "accuracy",
        wording.change(*accuracies),
        f"of {wording.number(comparison.rows)} validation rows" if comparison.rows else "",
    )
    yield (
        "gain",
        f"{wording.points(gain)} points" if gain else wording.UNKNOWN,
        f"95% interval {wording.interval(gain)}" if gain else "needs two validations",
    )
    yield (
        "format failures",
        wording.change(
            wording.percent(before.format_failures if before else None),
            wording.percent(after.format_failures if after else None),
        ),
        "answers that could not be read",
    )
    yield _cut_off(folder, comparison)
    yield _length(comparison)
    steps = folder.training_steps
    yield (
        "training steps",
        wording.number(len(steps) if folder.metrics else None),
        f"last: {steps[-1]}" if steps else "",
    )
    yield "training time", wording.duration(facts.train_seconds), f"in total {wording.duration(facts.total_seconds)}"
    yield "peak memory", wording.number(facts.peak_pss_gib, "GiB", 1), "all processes (PSS)"


def _cut_off(folder: RunFolder, comparison: Comparison) -> tuple[str, str, str]:
    limit = folder.facts.response_limit_tokens
    sides = [side.truncated_share(limit) if side else None for side in (comparison.before, comparison.after)]
    if sides != [None, None]:
        explained = f"validation answers at the limit of {limit} tokens" if limit else "of validation answers"
        return "cut off", wording.change(*map(wording.percent, sides)), explained
    if clipped := folder.series("response_length/clip_ratio"):
        ends = wording.change(wording.percent(clipped[0][1]), wording.percent(clipped[-1][1]))
        return "cut off", ends, "training answers, first and last step"
    return "cut off", wording.UNKNOWN, "answers at the length limit"


def _length(comparison: Comparison) -> tuple[str, str, str]:
    sides = [side for side in (comparison.before, comparison.after) if side]
    if any(side.mean_response_tokens is None for side in sides):
        lengths, unit = [side.mean_response_characters for side in sides], "characters"
    else:
        lengths, unit = [side.mean_response_tokens for side in sides], "tokens"
    values = [wording.number(length) for length in lengths] or [wording.UNKNOWN]
    return "mean answer", " → ".join(values), f"{unit}, validation" if sides else ""


def _about(facts: RunFacts) -> Iterator[tuple[str, str]]:
    """The run and its machine, as pairs of name and value."""
    yield "model", facts.model or wording.UNKNOWN
    yield "seed", facts.seed or wording.UNKNOWN
    yield "started", facts.started_at or wording.UNKNOWN
    yield "status", facts.status or wording.UNKNOWN
    yield "commit", facts.commit or wording.UNKNOWN
    yield "processor", facts.processor or wording.UNKNOWN
    yield "cores", wording.number(facts.cores)
    yield "memory", wording.number(facts.memory_gib, "GiB", 1)
    if engine := facts.engine:
        yield "rollout engine busy", wording.percent(engine.busy_share)
        yield "generated", wording.number(engine.generated_tokens, "tokens")
        yield "generation speed", wording.number(engine.tokens_per_busy_second, "tokens per busy second")


def _agreement(folder: RunFolder) -> Iterator[tuple[str, str]]:
    """Whether rollout and trainer give the same probabilities to the same tokens; only if verl recorded it."""
    if differences := folder.series("training/rollout_probs_diff_max"):
        worst = max(value for _, value in differences)
        yield "rollout against trainer", f"largest difference of a token's probability {worst:.3g}"
    if correlations := folder.series("training/rollout_actor_probs_pearson_corr"):
        yield "rollout-trainer correlation", f"{min(value for _, value in correlations):.4f} at the worst step"
