"""The verifier: whether an answer agrees with the ground truth, for rows that no rule could decide.

Unlike the judge it speaks of correctness: ``passed`` is what the model said, ``score`` 1 or 0. So it belongs above the
rules of a ladder, ``pangu.rewards.sources=[maths,verifier]``, which asks it where they could not judge or are measured
to be unreliable. Invariants: it speaks only from a reply that was read whole, and only against a ground truth that was
shown whole; of the response the model sees what follows the reasoning, without its middle where that is long.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from pangu_verl.mars.general import references_of
from pangu_verl.types import RewardRow, Verdict
from pangu_verl_judge import prompt
from pangu_verl_judge.client import JudgeUnavailable
from pangu_verl_judge.model import JudgeModel
from pangu_verl_judge.replies import AgreementReply, UnusableReply

#: References that are shown; a ground truth of more is no answer to one question.
MOST_EXPECTED_ANSWERS = 32


class VerifierSource:
    """Judges rows that have a ground truth; in domain "general" that may be a JSON array of texts, any one of which."""

    name = "verifier"
    domains = frozenset({"math", "general", "choice"})

    def __init__(self, model: JudgeModel) -> None:
        self._model = model

    def with_endpoint(self, address: str, model: str) -> VerifierSource:
        """The source that asks verl's reward-model pool, if the settings say so; see ``JudgeModel``."""
        return VerifierSource(self._model.with_endpoint(address, model))

    async def judge(self, row: RewardRow) -> Verdict:
        started = time.perf_counter()
        return replace(await self._judged(row), seconds=time.perf_counter() - started)

    async def close(self) -> None:
        await self._model.close()

    async def _judged(self, row: RewardRow) -> Verdict:
        settings = self._model.settings
        expected = _expected_answers(row)
        if not expected:
            return self._verdict(None, "the row has no ground truth to compare with", {})
        length = sum(map(len, expected))
        if length > settings.longest_text_characters or len(expected) > MOST_EXPECTED_ANSWERS:
            reason = (
                f"the ground truth has {length} characters in {len(expected)} references, more than can be shown "
                f"({settings.longest_text_characters} by longest_text_characters, {MOST_EXPECTED_ANSWERS}), and a part "
                "of it is no expected answer"
            )
            return self._verdict(None, reason, {})
        if not row.answer.strip():
            return self._verdict(False, "the answer is empty", {})
        request = prompt.agreement_request(row.question, row.answer, expected, settings)
        try:
            reply, cached = await self._model.ask(request, AgreementReply)
        except (UnusableReply, JudgeUnavailable) as error:
            return self._model.unjudged(self.name, error)
        reason = f"the verifier says that it {'agrees' if reply.agrees else 'does not agree'} with the expected answer"
        return self._verdict(reply.agrees, reason, self._model.details(request, reply.reason, cached=cached))

    def _verdict(self, passed: bool | None, reason: str, details: dict[str, Any]) -> Verdict:
        score = None if passed is None else float(passed)
        return Verdict(score=score, passed=passed, reason=reason, source=self.name, details=details)


def _expected_answers(row: RewardRow) -> list[str]:
    texts = references_of(row.ground_truth) if row.domain == "general" else [row.ground_truth or ""]
    return [prompt.clean(text) for text in texts if text.strip()]
