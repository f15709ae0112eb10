"""The one exception of this package: a check that says nothing about an answer, with the reason for the verdict."""

from __future__ import annotations


class CannotJudge(Exception):
    """A check cannot be used. Becomes a verdict without a score, and never leaves the source."""
