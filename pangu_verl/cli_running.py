"""How every command runs: the options that all share, where progress goes, and errors on one line.

Invariant: exit code 0 done, 1 failed, 2 wrong use; without ``--debug`` an error is one line on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from pangu_verl.errors import PanguError

Result = TypeVar("Result")

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object on the last line.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def console_for(as_json: bool) -> Console:
    """Progress goes to a descriptor of its own: while verl trains, standard output and error go to the run's log."""
    return Console(file=os.fdopen(os.dup(2 if as_json else 1), "w"))


def run(
    work: Callable[[], Result], debug: bool, *, interrupted: str = "go on with --resume and the same --run-dir"
) -> Result:
    """What ``work`` returns; its errors leave with their exit code. ``interrupted`` says what to do after Ctrl-C."""
    try:
        return work()
    except PanguError as error:
        if debug:
            raise
        print(f"pangu-verl: {' '.join(str(error).split())}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        print(f"pangu-verl: interrupted; {interrupted}", file=sys.stderr)
        raise typer.Exit(1) from None
    except Exception as error:
        if debug:
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        print(f"pangu-verl: {what} (--debug shows where)", file=sys.stderr)
        raise typer.Exit(1) from None
