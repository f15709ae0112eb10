"""What earlier generations of a prompt say of it: found by what is asked, kept in checkpoints.

A prompt is known by its task, its messages and verl's ``index`` of it, so it is the same one in every epoch and after a
resumption, in whatever order rows come. Invariant: nothing is known of a prompt that is not in the data; a damaged file
is refused. Estimates and their formulas are those of ``pangu_verl.queue.history``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from pangu_verl.errors import RunFailed, first_line
from pangu_verl.queue.history import Estimate, PromptHistory

_DIGEST_BYTES = 8


class KnownPrompts:
    """Of a data set of ``num_rows`` rows; with 0 of its tasks alone."""

    def __init__(self, num_rows: int) -> None:
        self._history = PromptHistory(num_rows)
        self._rows: dict[str, int] = {}

    def row_of(self, task: str, messages: object, index: object) -> int | None:
        """A number for the prompt: the same whenever it comes. None where there are more than there should be."""
        # Of what is no text, an image say, the kind alone: how else it is written may change from epoch to epoch.
        asked = json.dumps([task, messages, index], default=lambda value: type(value).__name__, skipkeys=True)
        digest = blake2b(asked.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
        if digest not in self._rows and len(self._rows) < self._history.num_rows:
            self._rows[digest] = len(self._rows)
        return self._rows.get(digest)

    def estimate(self, task: str, row: int | None) -> Estimate:
        """What is expected of one trajectory of the prompt."""
        return self._history.estimate(task, row)

    def record(self, task: str, row: int | None, passed: Sequence[bool | None], tokens: Sequence[int]) -> None:
        """Take in the trajectories of a finished group: whether each passed (None: not judged), and its tokens."""
        self._history.record(task, row, passed, tokens)

    def save(self, file: Path) -> None:
        """Into a folder that is not yet named as a checkpoint."""
        file.write_text(json.dumps({"prompts": list(self._rows), "history": self._history.to_json()}))

    @classmethod
    def load(cls, file: Path, num_rows: int) -> Self:
        """What ``save`` wrote, with room for ``num_rows`` new prompts. Raises ``RunFailed`` for anything else."""
        try:
            found: dict[str, Any] = json.loads(file.read_text())
            known = cls(0)
            found["history"]["num_rows"] = len(found["prompts"]) + num_rows
            known._history = PromptHistory.from_json(found["history"])
            known._rows = {str(digest): row for row, digest in enumerate(found["prompts"])}
            if len(known._rows) < len(found["prompts"]):
                raise ValueError("a prompt comes twice")
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise RunFailed(
                f"{file} is no history of prompts ({first_line(error)}); delete it to go on without, or resume from "
                "another checkpoint"
            ) from error
        return known
