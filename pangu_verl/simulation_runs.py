"""Simulations that leave a folder: advice for a cluster, and soaks. Both show progress, resume, and end with a page.

    results.jsonl         a result of the search a line, as it came; a line that a killed run cut off is passed over
    recommendation.json   the advice with its figures
    soak/                 ledger, checkpoints and logs of a soak (``simulate.soak.folder``)
    run.json, report.html

Invariant: a folder holds one order; another one is refused by the name of what differs. What cannot be asked is refused
before there is a folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from pangu_verl.errors import PanguError, RunFailed, WrongUse, first_line
from pangu_verl.report.recommendation import build_recommendation
from pangu_verl.report.records import read_json_lines
from pangu_verl.report.soak import build_soak
from pangu_verl.runs import Run, new_run_folder
from pangu_verl.simulate import advice
from pangu_verl.simulate.order import Order
from pangu_verl.simulate.recommend import Recommendation, check_order
from pangu_verl.simulate.recommend import recommend as find_advice
from pangu_verl.simulate.search_progress import search_progress
from pangu_verl.simulate.soak.ends import read_ends
from pangu_verl.simulate.soak.folder import SoakFolder
from pangu_verl.simulate.soak.order import SoakOrder
from pangu_verl.simulate.soak.progress import soak_progress
from pangu_verl.simulate.soak.running import resume_soak, run_soak

RESULTS, RECOMMENDATION, SOAK = "results.jsonl", "recommendation.json", "soak"
#: What an order may say besides its defaults; the rest is found by the search, or fixed by the soak.
_OF_ADVICE = {
    "trace",
    "train_to_rollout_ratio",
    "steps",
    "seeds",
    "first_seed",
    "batch_groups",
    "trajectories",
    "window_groups",
    "wave_groups",
    "rollout_share",
    "cluster",
    "priority",
}
_OF_SOAK = {"policy", "staleness", "first_seed", "batch_groups", "trajectories"}
#: Options of the command whose names are not those of the order's fields.
_FLAGS = {
    "first_seed": "seed",
    "window_groups": "window",
    "wave_groups": "wave",
    "warm_up_batches": "warm-up",
    "options": "option",
}


def recommend(
    order: Order, least_length_ratio: float, run_dir: Path | None, *, resume: bool, console: Console
) -> dict[str, Any]:
    """Advice for the order, with ``text`` for people. A full disk is ``RunFailed``, the rest as in ``simulate``."""
    _refuse_given(order, _OF_ADVICE, "--recommend finds that itself")
    check_order(order, least_length_ratio)
    identity = {**_described(order), "least_length_ratio": least_length_ratio}
    with _recorded(run_dir, "recommend", identity, resume, console) as run:
        results = run.folder / RESULTS
        done = read_json_lines(results).objects if results.is_file() else ()
        with results.open("ab") as stream, search_progress(console) as on_progress:
            # A line that was cut off must not swallow the next one.
            stream.write(b"\n" if stream.tell() else b"")
            found = find_advice(
                order,
                least_length_ratio,
                done=done,
                on_result=lambda result: _append(stream, result),
                on_progress=on_progress,
            )
        record = {**found.to_json(), "limits": advice.limits(found), "outlook": advice.outlook(found)}
        (run.folder / RECOMMENDATION).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        page = build_recommendation(run.folder, found, run.record)
    return {**record, "run_dir": str(run.folder), "text": _advice_text(found, page)}


def soak(
    order: Order, samples: int, kills: int, run_dir: Path | None, *, resume: bool, console: Console
) -> dict[str, Any]:
    """A soak of the order's policy and bound, with ``text`` for people; ``failed`` where something did not hold."""
    _refuse_given(order, _OF_SOAK, "--soak has a cluster and a trace of its own")
    asked = SoakOrder(
        samples=samples,
        kills=kills,
        policy=order.policy,
        bound_versions=order.staleness,
        seed=order.first_seed,
        batch_groups=order.batch_groups,
        trajectories=order.trajectories,
    )
    with _recorded(run_dir, "soak", asdict(asked), resume, console) as run:
        found = _soaked(SoakFolder(run.folder / SOAK), asked, console)
        ends = read_ends(SoakFolder(run.folder / SOAK).ends)
        page = build_soak(run.folder, found, ends, run.record)
    failed = found["first_breach"] is not None
    return {**found, "run_dir": str(run.folder), "failed": failed, "text": _soak_text(found, page)}


def _soaked(place: SoakFolder, asked: SoakOrder, console: Console) -> dict[str, Any]:
    """The report of the soak in ``place``, from its beginning or from where it was."""
    place.path.mkdir(exist_ok=True)
    try:
        with soak_progress(console, asked.samples, asked.kills) as progress:
            if place.order.is_file():
                return resume_soak(place.path, progress).to_json()
            return run_soak(place.path, asked, progress).to_json()
    except RunFailed:
        # A breach comes as an error after its report is written; it is a result here, with a page.
        found: dict[str, Any] = json.loads(place.report.read_text()) if place.report.is_file() else {}
        if found.get("first_breach") is None:
            raise
        return found


@contextmanager
def _recorded(
    run_dir: Path | None, name: str, identity: Mapping[str, Any], resume: bool, console: Console
) -> Iterator[Run]:
    """The run's folder and record, which says how it ended."""
    if resume and run_dir is None:
        raise WrongUse("--resume goes on with an earlier run; name its folder with --run-dir")
    plain: dict[str, Any] = json.loads(json.dumps(identity))
    try:
        run = Run(run_dir or new_run_folder(name), name=name, resume=resume, identity=plain)
        console.print(f"run folder {run.folder}", highlight=False)
        yield from _watched(run)
        run.update("finished")
    except OSError as error:
        where = error.filename or run_dir or "the run folder"
        raise RunFailed(
            f"{where} cannot be written or read ({error.strerror or error}); mend that and go on with --resume"
        ) from error


def _watched(run: Run) -> Iterator[Run]:
    try:
        yield run
    except KeyboardInterrupt:
        run.update("interrupted")
        raise
    except (PanguError, OSError) as error:
        run.update("failed", failure=first_line(error))
        raise


def _append(stream: IO[bytes], result: Mapping[str, Any]) -> None:
    stream.write(json.dumps(result).encode() + b"\n")
    stream.flush()


def _described(order: Order) -> dict[str, Any]:
    """What the results depend on: of files what they hold, not what they are called."""
    described = {name: value for name, value in asdict(order).items() if name in _OF_ADVICE}
    described["cluster"] = order.scenario(order.first_seed).cluster.model_dump(mode="json")
    if (trace := Path(order.trace)).is_file():
        described["trace_sha256"] = hashlib.sha256(trace.read_bytes()).hexdigest()
    return described


def _refuse_given(order: Order, allowed: Collection[str], why: str) -> None:
    usual = Order()
    given = [field.name for field in fields(Order) if getattr(order, field.name) != getattr(usual, field.name)]
    flags = [f"--{_FLAGS.get(name, name).replace('_', '-')}" for name in given if name not in allowed]
    if flags:
        raise WrongUse(f"{', '.join(flags)}: {why}; leave {'it' if len(flags) == 1 else 'them'} out")


def _advice_text(found: Recommendation, page: Path) -> str:
    measures = found.chosen.measures
    lines = [
        advice.headline(found),
        f"  fresh tokens {measures.fresh_token_share:.1%} of the ceiling, trained length "
        f"{measures.trained_length_ratio:.1%} of the natural one (means of {found.num_seeds} seeds)",
        *(f"  {sentence}" for sentence in (*advice.limits(found), *advice.outlook(found))),
        f"report: {page}",
    ]
    return "\n".join(lines)


def _soak_text(found: Mapping[str, Any], page: Path) -> str:
    breaches = found["breaches"]
    verdict = "the soak holds" if found["first_breach"] is None else f"the soak found a breach: {found['first_breach']}"
    lines = [
        f"{verdict}: {found['samples']:,} samples in {found['steps']:,} steps, {found['kills']} kills, "
        f"{found['resumptions']} resumptions, {found['seconds']:.0f} s",
        "  " + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in breaches.items()),
        f"report: {page}",
    ]
    return "\n".join(lines)
