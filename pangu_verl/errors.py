"""The errors a user may meet. Each says in one line what was expected, what came and what to do.

Invariant: ``WrongUse`` leaves with exit code 2, ``RunFailed`` with exit code 1; neither shows a traceback unless
``--debug`` is given. Bugs stay ordinary exceptions and keep their traceback.
"""

from __future__ import annotations


class PanguError(Exception):
    """Base of the errors that are part of the interface."""

    exit_code = 1


class WrongUse(PanguError):
    """The caller's input cannot work: a flag, a config key, a file, a row."""

    exit_code = 2


class RunFailed(PanguError):
    """The input was sound and the run failed all the same: a worker died, a disk is full."""

    exit_code = 1


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its class where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
