"""The format gate: the structure that a response must have in its mode, looked at before anything is paid.

``slow``: one closed block of reasoning that is not empty, then an answer. ``fast``: an answer, and before it nothing or
one empty block. ``auto``: either. An opening tag may be missing where reasoning is closed, because chat templates write
it into the prompt. Source: the paper's "format validator as first filter"; the rules are project defaults, after the
released model's behaviour (fast thinking is empty; a close tag may be missing, which here is a fault).

Invariant: the gate speaks of structure alone; ``composition`` applies it to the score and never to ``passed``. A row
without a mode passes no gate.
"""

from __future__ import annotations

from pangu_verl.mars.answers import CLOSE_TAGS, OPEN_TAGS, TURN_END

MODES = ("fast", "slow", "auto")
_PAIRS = dict(zip(CLOSE_TAGS, OPEN_TAGS, strict=True))


def format_fault(response: str, mode: str) -> str | None:
    """What is wrong with the structure of a response for one of ``MODES``, in a few words; None if nothing is."""
    opened = [tag for tag in OPEN_TAGS for _ in range(response.count(tag))]
    closed = [tag for tag in CLOSE_TAGS for _ in range(response.count(tag))]
    if not closed:
        return _fault_without_reasoning(response, opened, mode)
    if len(closed) > 1:
        return f"reasoning is closed {len(closed)} times"
    if len(opened) > 1:
        return f"reasoning is opened {len(opened)} times"
    before, _, answer = response.partition(closed[0])
    if opened and opened != [_PAIRS[closed[0]]]:
        return f"reasoning is opened by {opened[0]} and closed by {closed[0]}"
    if opened and not before.lstrip().startswith(opened[0]):
        return "reasoning does not come first"
    reasoning = before.lstrip().removeprefix(opened[0] if opened else "").strip()
    if not answer.partition(TURN_END)[0].strip():
        return "no answer after the reasoning"
    if mode == "fast" and reasoning:
        return "a fast answer holds reasoning"
    return "a slow answer's reasoning is empty" if mode == "slow" and not reasoning else None


def _fault_without_reasoning(response: str, opened: list[str], mode: str) -> str | None:
    if opened:
        return "reasoning is never closed"
    if mode == "slow":
        return "a slow answer holds no reasoning"
    return None if response.partition(TURN_END)[0].strip() else "the response is empty"
