"""``report.html`` of a soak: what held, how often its process was killed, and when.

Invariant: what ``rendering`` holds of every page. The numbers are the soak's report; the page proves nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from pangu_verl.report import wording
from pangu_verl.report.drawing import SERIES, Figure, Panel, draw_figure
from pangu_verl.report.page import REPORT_NAME
from pangu_verl.report.rendering import render, write_page
from pangu_verl.simulate.soak.kills import Aim
from pangu_verl.simulate.soak.lives import LifeEnd

#: What is held against the soak, and what a count of 0 then says.
_PROVEN = {
    "tokens_over_bound": "tokens over the bound were trained on",
    "lost_prompts": "prompts were lost",
    "prompts_trained_twice": "prompts were trained on twice in the lineage",
    "disagreements": "times two records of the same thing did not agree",
}
_AIMS = {
    Aim.ANY_TIME: "any time",
    Aim.TRANSACTION: "transaction",
    Aim.CHECKPOINT: "checkpoint",
    Aim.RESUMPTION: "resumption",
}


def build_soak(run_dir: Path, found: Mapping[str, Any], ends: Sequence[LifeEnd], record: Mapping[str, Any]) -> Path:
    """Write the page into a run folder and return its path.

    ``found`` is ``SoakReport.to_json()``, ``ends`` its lives as they ended, ``record`` the folder's run.json.
    """
    page = render(
        "soak.html.jinja",
        ("page.css",),
        title="A soak of scheduler and ledger",
        headline=_headline(found),
        first_breach=found["first_breach"],
        key_figures=list(_key_figures(found)),
        proven=[(count, _PROVEN.get(name, name.replace("_", " "))) for name, count in found["breaches"].items()],
        figure=_kills_figure(ends, found),
        counts=_counts(found),
        about=list(_about(found, record)),
    )
    return write_page(run_dir / REPORT_NAME, page)


def _headline(found: Mapping[str, Any]) -> str:
    lived = (
        f"{wording.number(found['samples'])} trajectories were trained on in {wording.number(found['steps'])} steps, "
        f"over {wording.number(found['kills'])} kills of the process and {wording.number(found['resumptions'])} "
        "resumptions"
    )
    if found["first_breach"] is None:
        return f"{lived}: no token over the bound, no prompt lost, none trained on twice."
    return f"{lived}, and something did not hold."


def _key_figures(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "samples", wording.number(found["samples"]), "trajectories of the lineage"
    yield "kills", wording.number(found["kills"]), "with SIGKILL, from outside"
    yield "inside a transaction", wording.number(found["kills_in_transactions"]), "of these kills, for certain"
    yield "largest lag", wording.number(found["max_trained_lag"]), f"versions; bound {found['order']['bound_versions']}"
    yield "time", wording.duration(found["seconds"]), f"{wording.number(found['samples_per_s'])} samples a second"


def _kills_figure(ends: Sequence[LifeEnd], found: Mapping[str, Any]) -> Figure | None:
    step_samples = found["order"]["batch_groups"] * found["order"]["trajectories"]
    kills = [(end.samples / step_samples, end.aim) for end in ends if end.aim is not None]
    if not kills:
        return None
    aims = list(_AIMS)

    def draw(axes: Axes) -> None:
        for place, aim in enumerate(aims):
            steps = [step for step, aimed in kills if aimed is aim]
            axes.plot(steps, [place] * len(steps), "o", color=SERIES[place], markersize=4.0)
        axes.set_xlim(0, max(found["steps"], 1))
        axes.set_ylim(-0.6, len(aims) - 0.4)
        axes.set_yticks(range(len(aims)), [_AIMS[aim] for aim in aims])

    words = ["Each mark is a kill, at the last training step that was heard of, by what it was aimed at."]
    return draw_figure("Kills over the run", words, [Panel(label="aimed at", draw=draw)])


def _counts(found: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Headings with names and numbers."""
    ended = (
        "trained_groups",
        "live_groups",
        "abandoned_groups",
        "taken_back_groups",
        "trained_tokens",
        "masked_tokens",
    )
    parts = {
        "In the lineage": {name: found[name] for name in ended},
        "Over all resumptions": found["of_resumptions"],
        "Over all processes": found["of_lives"],
    }
    return [
        (heading, [(name.replace("_", " "), wording.number(count)) for name, count in numbers.items()])
        for heading, numbers in parts.items()
        if numbers
    ]


def _about(found: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in found["order"].items():
        yield name.replace("_", " "), str(value)
    yield "started", wording.moment(str(record.get("started_at") or wording.UNKNOWN))
    yield "commit", str(record.get("commit") or wording.UNKNOWN)
    machine = record.get("machine") or {}
    yield "machine", f"{machine.get('cores', wording.UNKNOWN)} cores, {machine.get('processor', wording.UNKNOWN)}"
