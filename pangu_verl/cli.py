"""The command line. Each command parses its options, calls one room and prints; the work is done elsewhere.

Exit codes: 0 done, 1 failed, 2 wrong use. Without ``--debug`` an error is one line on standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

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
    run_dir: RunDir = None,
    resume: Resume = False,
    debug: Debug = False,
) -> None:
    """Run verl's trainer with our plugins. Arguments are Hydra overrides, as for verl itself."""

    def work() -> None:
        from pangu_verl import training
        from pangu_verl.runs import new_run_folder

        training.run(run_dir or new_run_folder("train"), config_name, context.args, resume=resume)

    _run(work, debug)


@app.command(epilog="Example: pangu-verl report runs/20260101-120000-quickstart")
def report(
    run_dir: Annotated[Path, typer.Argument(help="Folder of a run.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Build report.html from what a run has written so far."""

    def work() -> tuple[Path, dict[str, Any]]:
        from pangu_verl.report import build_report, summarise

        return build_report(run_dir), summarise(run_dir).to_json()

    page, summary = _run(work, debug)
    print(json.dumps({**summary, "report": str(page)}) if as_json else f"report: {page}")


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
