"""The command line. Each command parses its options, calls one room and prints; the work is done elsewhere.

Exit codes: 0 done, 1 failed, 2 wrong use. Without ``--debug`` an error is one line on standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console

from pangu_verl.errors import PanguError

Result = TypeVar("Result")

app = typer.Typer(
    name="pangu-verl",
    help="Pangu Embedded's training system on verl.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Target = Literal["cpu", "cuda", "npu"]
RunDir = Annotated[Path | None, typer.Option("--run-dir", help="Folder of the run. Default: ./runs/<time>-<name>.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --run-dir from its last checkpoint.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on the last line.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@app.command(
    epilog="Example: pangu-verl quickstart --model tiny",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": False},
)
def quickstart(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="smollm2, tiny, a model folder or a name on a model hub.")] = "smollm2",
    seed: Annotated[int, typer.Option(help="Seed of problems, sampling and order.")] = 0,
    run_dir: RunDir = None,
    resume: Resume = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train a small language model with GRPO in verl on this machine and report what it learnt.

    Further arguments are Hydra overrides, for example trainer.total_training_steps=4.
    """

    def work() -> dict[str, Any]:
        from pangu_verl.quickstart import job
        from pangu_verl.runs import new_run_folder

        folder = run_dir or new_run_folder("quickstart")
        order = job.Job(folder=folder, model=model, seed=seed, resume=resume, overrides=context.args)
        return job.run(order, _console(as_json))

    result = _run(work, debug)
    if as_json:
        print(json.dumps(result))
    else:
        from pangu_verl.report import outcome_sentence

        print(outcome_sentence(Path(result["run_dir"])))
        print(f"report: {Path(result['run_dir']) / 'report.html'}")


@app.command(
    epilog="Example: pangu-verl train data.train_files=train.parquet data.val_files=val.parquet "
    "actor_rollout_ref.model.path=./model backend=cpu",
    context_settings={"allow_extra_args": True},
)
def train(
    context: typer.Context,
    config_name: Annotated[str, typer.Option("--config", help="Configuration to start from.")] = "ppo",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, show what would run, start nothing.")
    ] = False,
    explain: Annotated[str | None, typer.Option(metavar="KEY", help="Say what a configuration key means.")] = None,
    list_configs: Annotated[bool, typer.Option("--list-configs", help="List configurations and backends.")] = False,
    run_dir: RunDir = None,
    resume: Resume = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run verl's trainer with our plugins. Arguments are Hydra overrides, as for verl itself."""

    def work() -> None:
        from pangu_verl import training
        from pangu_verl.runs import new_run_folder

        if list_configs:
            training.list_configurations(as_json=as_json)
        elif explain is not None:
            training.explain(explain, config_name, context.args, as_json=as_json)
        elif dry_run:
            training.show_plan(config_name, context.args, as_json=as_json)
        else:
            folder = run_dir or new_run_folder("train")
            result = training.run(folder, config_name, context.args, resume=resume)
            if as_json:
                print(json.dumps(result))

    _run(work, debug)


@app.command(epilog="Example: pangu-verl report runs/20260101-120000-quickstart runs/20260102-120000-quickstart")
def report(
    run_dirs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    output: Annotated[Path, typer.Option(help="Page that sets several runs side by side.")] = Path("comparison.html"),
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Build report.html from what a run has written so far, or one page that sets several runs side by side."""

    def work() -> tuple[Path, Any]:
        from pangu_verl.report import build_report, build_side_by_side, summarise, summarise_side_by_side

        if len(run_dirs) == 1:
            page = build_report(run_dirs[0])
            return page, {**summarise(run_dirs[0]).to_json(), "report": str(page)}
        page = build_side_by_side(run_dirs, output)
        return page, {"runs": summarise_side_by_side(run_dirs), "report": str(page)}

    page, summary = _run(work, debug)
    print(json.dumps(summary) if as_json else f"report: {page}")


@app.command(epilog="Example: pangu-verl plugins --json")
def plugins(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the plugins of pangu_verl: version, distribution, hooks, and what is wrong with those that do not load.

    PANGU_VERL_PLUGINS=a,b loads those alone (empty: none). Exit code 1 if one failed.
    """

    def work() -> list[dict[str, Any]]:
        from pangu_verl.plugins import load_plugins

        return [record.to_json() for record in load_plugins().records]

    records = _run(work, debug)
    if as_json:
        print(json.dumps(records))
    for record in [] if as_json else records:
        origin = f"{record['distribution']} {record['version']}" if record["distribution"] else "unknown"
        print(f"{record['name']}: {record['status']} ({origin}) {', '.join(record['hooks'])}".rstrip())
        if record["error"]:
            print(f"    {record['error']}")
    raise typer.Exit(int(any(record["status"] == "failed" for record in records)))


@app.command(
    epilog="Example: pangu-verl doctor --target npu actor_rollout_ref.model.path=./model",
    context_settings={"allow_extra_args": True},
)
def doctor(
    context: typer.Context,
    target: Annotated[Target, typer.Option(help="Hardware to look for.")] = "cpu",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Examine versions, plugins, machine, devices and configuration, and say what to do about each finding.

    Further arguments are Hydra overrides of the configuration to examine. Exit code 1 if there is a problem.
    """

    def work() -> Any:
        from pangu_verl.doctor import examine

        return examine(target, context.args)

    from pangu_verl.doctor import describe

    findings = _run(work, debug)
    print(json.dumps([finding.to_json() for finding in findings]) if as_json else describe(findings))
    raise typer.Exit(int(any(finding.status == "problem" for finding in findings)))


def _console(as_json: bool) -> Console:
    """Progress goes to a descriptor of its own: while verl trains, standard output and error go to the run's log."""
    return Console(file=os.fdopen(os.dup(2 if as_json else 1), "w"))


def _run(work: Callable[[], Result], debug: bool) -> Result:
    try:
        return work()
    except PanguError as error:
        if debug:
            raise
        print(f"pangu-verl: {' '.join(str(error).split())}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        print("pangu-verl: interrupted; go on with --resume and the same --run-dir", file=sys.stderr)
        raise typer.Exit(1) from None
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        print(f"pangu-verl: {what} (--debug shows where)", file=sys.stderr)
        raise typer.Exit(1) from None


def main() -> None:
    """Entry point of the ``pangu-verl`` command."""
    app()
