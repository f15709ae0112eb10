"""``pangu-verl rewards``: judge responses, examine gold answers, list what judges. The work is in ``rewards/``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pangu_verl.cli_running import AsJson, Debug, console_for, run
from pangu_verl.errors import WrongUse

app = typer.Typer(
    name="rewards",
    help="Judge responses with the reward sources, examine gold answers, list the sources.",
    epilog="Example: pangu-verl rewards score --domain math --response '\\boxed{7}' --ground-truth 7",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Sources = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Sources to use, in order, as in pangu.rewards.sources. Default: all."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]


@app.command(
    epilog="Example: pangu-verl rewards score --input rows.jsonl --output verdicts.jsonl. One row: pangu-verl rewards "
    "score --domain math --response 'So it is \\boxed{7}.' --ground-truth 7"
)
def score(
    rows: Annotated[Path | None, typer.Option("--input", help="Reward rows, one JSON object a line.")] = None,
    output: Annotated[Path | None, typer.Option(help="File that gets one verdict a line, in the same order.")] = None,
    domain: Annotated[str | None, typer.Option(help="Of one row: math, code, choice, instruction, general.")] = None,
    response: Annotated[str | None, typer.Option(help="Of one row: the whole output of the model.")] = None,
    ground_truth: Annotated[str | None, typer.Option(help="Of one row: the gold answer.")] = None,
    question: Annotated[str | None, typer.Option(help="Of one row: what was asked.")] = None,
    mode: Annotated[str | None, typer.Option(help="Of one row: fast, slow or auto applies that format gate.")] = None,
    sources: Sources = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep the verdicts in --output and go on after them.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Judge responses by the sources at their defaults and all auxiliary terms; null where one could not be judged.

    Exit code 0 once every row has a verdict, null included. A row that cannot be read is named and nothing is judged.
    One row is given by --domain and --response, and its verdict is printed as JSON.
    """
    fields = {"domain": domain, "response": response, "ground_truth": ground_truth, "question": question, "mode": mode}

    def work() -> tuple[dict[str, Any], str]:
        if rows is None:
            _check_row(fields, output, resume or overwrite)
            from pangu_verl.rewards.score import score_row

            line = score_row(fields, sources=sources)
            return line, json.dumps(line)
        if output is None or any(value is not None for value in fields.values()):
            raise WrongUse("--input FILE goes with --output FILE, and without the options that describe one row")
        from pangu_verl.rewards.score import score_file

        console = console_for(as_json)
        summary = score_file(rows, output, sources=sources, resume=resume, overwrite=overwrite, console=console)
        return {**summary.to_json(), "output": str(output)}, summary.text()

    result, text = run(work, debug, interrupted="go on with --resume and the same --input and --output")
    print(json.dumps(result) if as_json else text)


@app.command(epilog="Example: pangu-verl rewards validate train.parquet --measurements rates.json")
def validate(
    data: Annotated[Path, typer.Argument(help="Reward rows (JSONL, response optional), or verl's parquet.")],
    output: Annotated[
        Path | None, typer.Option(help="File that gets what became of each row, one JSON a line.")
    ] = None,
    measurements: Annotated[
        Path | None, typer.Option(help="File that gets the rates of rejected golds, as a run keeps them.")
    ] = None,
    sources: Sources = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Put every row's own gold answer through its reward, before any training.

    Exit code 1 if any gold is rejected or cannot be judged, else 0. Of instruction rows, and of code rows without a
    reference program in their ground truth, only the checks and tests are read; they count as "no gold".
    """

    def work() -> Any:
        from pangu_verl.rewards.validate import validate_file

        return validate_file(
            data,
            sources=sources,
            output=output,
            measurements_path=measurements,
            overwrite=overwrite,
            console=console_for(as_json),
        )

    found = run(work, debug, interrupted="nothing was written; start again")
    print(json.dumps(found.to_json()) if as_json else found.text())
    raise typer.Exit(int(found.counts.num_problems > 0))


@app.command("list", epilog="Example: pangu-verl rewards list --json")
def list_sources(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the reward sources with their domains and options, and the auxiliary terms."""

    def work() -> tuple[dict[str, Any], str]:
        from pangu_verl.rewards.listing import list_rewards, listing_text

        found = list_rewards()
        return found, listing_text(found)

    found, text = run(work, debug)
    print(json.dumps(found) if as_json else text)


def _check_row(fields: dict[str, str | None], output: Path | None, is_about_output: bool) -> None:
    if fields["domain"] is None or fields["response"] is None:
        raise WrongUse("expected --input FILE and --output FILE, or one row by --domain and --response")
    if output is not None or is_about_output:
        raise WrongUse("one row's verdict is printed; leave --output, --resume and --overwrite out, or give --input")
