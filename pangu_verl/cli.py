"""The command line. Each command parses its options, calls one room and prints; the work is done elsewhere.

Commands with sub-commands have a file of their own; what all share is in ``cli_running.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pangu_verl import cli_rewards, cli_simulate
from pangu_verl.cli_running import AsJson, Debug, console_for, run

app = typer.Typer(
    name="pangu-verl",
    help="Pangu Embedded's training system on verl.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(cli_rewards.app)
app.command(epilog=cli_simulate.EPILOG)(cli_simulate.simulate)

Target = Literal["cpu", "cuda", "npu"]
RunDir = Annotated[Path | None, typer.Option("--run-dir", help="Folder of the run. Default: ./runs/<time>-<name>.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --run-dir from its last checkpoint.")]


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
        return job.run(order, console_for(as_json))

    result = run(work, debug)
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

    run(work, debug)


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

    page, summary = run(work, debug)
    print(json.dumps(summary) if as_json else f"report: {page}")


@app.command(epilog="Example: pangu-verl plugins --json")
def plugins(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the plugins of pangu_verl: version, distribution, hooks, and what is wrong with those that do not load.

    PANGU_VERL_PLUGINS=a,b loads those alone (empty: none). Exit code 1 if one failed.
    """

    def work() -> list[dict[str, Any]]:
        from pangu_verl.plugins import load_plugins

        return [record.to_json() for record in load_plugins().records]

    records = run(work, debug)
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

    findings = run(work, debug)
    print(json.dumps([finding.to_json() for finding in findings]) if as_json else describe(findings))
    raise typer.Exit(int(any(finding.status == "problem" for finding in findings)))


def main() -> None:
    """Entry point of the ``pangu-verl`` command."""
    app()
