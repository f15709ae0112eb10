"""``pangu-verl simulate``: play a scheduler on a described cluster. The work is in ``simulate/``.

Nothing of a run is decided here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pangu_verl.cli_running import AsJson, Debug, console_for, run
from pangu_verl.errors import WrongUse

Pairs = list[str] | None

EPILOG = (
    "Example: pangu-verl simulate --policy mask --staleness 2 --trace heavy. Advice for a cluster: pangu-verl simulate "
    "--recommend --cluster cluster.yaml --trace lengths.jsonl. Proof against crashes: pangu-verl simulate --soak"
)


def simulate(
    policy: Annotated[
        str,
        typer.Option(help="mask, wait, drop, one of a plugin, or sync, verl_drop, verl_wait, admission, one_step_off."),
    ] = "mask",
    staleness: Annotated[
        int | None,
        typer.Option(min=0, max=1000, help="Bound s: no token of a larger lag is trained on. Default: 2."),
    ] = None,
    trace: Annotated[str, typer.Option(help="mild, mid, heavy, or a file of recorded lengths.")] = "mid",
    train_to_rollout_ratio: Annotated[
        float | None,
        typer.Option(help="T/W: time to train on a step's tokens, to time to make them, on all devices. Default: 0.5."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps.")] = 200,
    seeds: Annotated[int, typer.Option(min=1, help="Runs with unlike lengths; means are shown.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**32, help="The first seed.")] = 0,
    batch_groups: Annotated[int, typer.Option(min=1, help="Groups trained on in a step.")] = 64,
    trajectories: Annotated[int, typer.Option(min=1, help="Trajectories of a group.")] = 8,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="Most groups that run or are ready, a batch at least. Default: (s + 1) batches."),
    ] = None,
    wave: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Groups admitted at a time by expected length, rising and falling in turn. Default: as they come.",
        ),
    ] = None,
    option: Annotated[
        Pairs,
        typer.Option(metavar="NAME=VALUE", help="An option of the policy, as mask's least_fresh_share. Repeatable."),
    ] = None,
    priority: Annotated[
        Pairs,
        typer.Option(
            metavar="TERM=WEIGHT",
            help="A weight of deadline_slack, task_share_deficit, expected_length, informativeness or age.",
        ),
    ] = None,
    controller: Annotated[
        str | None, typer.Option(help="What moves the bound: adaptive, or one of a plugin. Default: nothing.")
    ] = None,
    controller_option: Annotated[
        Pairs, typer.Option(metavar="NAME=VALUE", help="An option of the controller. Repeatable.")
    ] = None,
    drift: Annotated[
        float | None,
        typer.Option(min=0.0, max=100.0, help="For the controller: spread of the log-ratio per version of lag."),
    ] = None,
    cluster: Annotated[Path | None, typer.Option(help="YAML or JSON file that describes the cluster.")] = None,
    rollout_share: Annotated[
        float | None, typer.Option(help="Share of the devices that roll out. Default: W/(W+T).")
    ] = None,
    warm_up: Annotated[
        float | None, typer.Option(min=0.0, max=1000.0, help="verl's warm-up batches. Default: the best of a sweep.")
    ] = None,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Try splits, bounds and policies; say which suit.")
    ] = False,
    least_length_ratio: Annotated[
        float | None, typer.Option(help="With --recommend: the least trained-length ratio to accept. Default: 0.9.")
    ] = None,
    soak: Annotated[bool, typer.Option("--soak", help="Kill a scheduler with its ledger again and again.")] = False,
    samples: Annotated[
        int | None, typer.Option(min=1, help="With --soak: trajectories to train on. Default: a million.")
    ] = None,
    kills: Annotated[int | None, typer.Option(min=0, help="With --soak: how often to kill -9. Default: 50.")] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Folder of the results of --recommend, --soak.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the --soak or --recommend in --run-dir.")
    ] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Play a scheduler on a cluster described in numbers, with the very objects that schedule a real one.

    Shares are of the ceiling, the speed at which no device is ever idle: see docs/scheduling.md. Nothing is trained.
    """

    def work() -> dict[str, Any]:
        from pangu_verl import simulations
        from pangu_verl.simulate.order import Order

        order = Order(
            policy=policy,
            staleness=2 if staleness is None else staleness,
            trace=trace,
            train_to_rollout_ratio=0.5 if train_to_rollout_ratio is None else train_to_rollout_ratio,
            steps=steps,
            seeds=seeds,
            first_seed=seed,
            batch_groups=batch_groups,
            trajectories=trajectories,
            window_groups=window,
            wave_groups=wave,
            rollout_share=rollout_share,
            warm_up_batches=warm_up,
            cluster=cluster,
            drift=drift,
            controller=controller,
            controller_options=_numbers("--controller-option", controller_option),
            options=_numbers("--option", option),
            priority=_numbers("--priority", priority),
        )
        _refuse(recommend and soak, "--recommend and --soak are two things; ask for one of them")
        _refuse(
            not (recommend or soak) and (run_dir is not None or resume),
            "--run-dir and --resume go with --recommend or --soak; a plain simulation writes no files",
        )
        _refuse(not recommend and least_length_ratio is not None, "--least-length-ratio goes with --recommend; add it")
        _refuse(not soak and (samples, kills) != (None, None), "--samples and --kills go with --soak; add it")
        _refuse(
            cluster is not None and train_to_rollout_ratio is not None,
            "--train-to-rollout-ratio is for the design's cluster, --cluster says its own speeds; give one of them",
        )
        _refuse(
            policy in ("sync", "one_step_off") and staleness is not None,
            f"{policy} has a bound of its own; leave out --staleness",
        )
        console = console_for(as_json)
        if recommend:
            from pangu_verl.simulation_runs import recommend as find_advice

            ratio = 0.9 if least_length_ratio is None else least_length_ratio
            return find_advice(order, ratio, run_dir, resume=resume, console=console)
        if soak:
            from pangu_verl.simulation_runs import soak as run_soak

            wanted, times = 1_000_000 if samples is None else samples, 50 if kills is None else kills
            return run_soak(order, wanted, times, run_dir, resume=resume, console=console)
        return simulations.play(order, console)

    again = "go on with --resume and the same --run-dir" if recommend or soak else "nothing was written; run it again"
    result = run(work, debug, interrupted=again)
    text = result.pop("text")
    print(json.dumps(result) if as_json else text)
    raise typer.Exit(int(bool(result.get("failed"))))


def _numbers(option: str, pairs: Pairs) -> dict[str, float]:
    """NAME=VALUE pairs; whole numbers stay whole."""
    numbers: dict[str, float] = {}
    for pair in pairs or ():
        name, _, text = pair.partition("=")
        try:
            numbers[name.strip()] = int(text) if text.strip().lstrip("+-").isdigit() else float(text)
        except ValueError:
            raise WrongUse(f"{option} takes NAME=NUMBER, not {pair!r}") from None
    return numbers


def _refuse(is_wrong: bool, message: str) -> None:
    if is_wrong:
        raise WrongUse(message)
