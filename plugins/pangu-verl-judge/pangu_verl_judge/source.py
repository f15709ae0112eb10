"""The judge: one row in, one verdict of liking out.

Invariant: a score comes only from a reply of the judge that was read whole and lies on the scale; else it is None,
with the reason. ``passed`` is always None, since a judge's liking is no proof of correctness. Pairwise, each order is
asked once, so a judge that prefers a place gains nothing for either response. Bringing scores of many tasks to one
scale is not done here (``pangu_verl.mars.preference``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from pangu_verl.types import RewardRow, Verdict
from pangu_verl_judge import prompt
from pangu_verl_judge.client import JudgeUnavailable
from pangu_verl_judge.model import JudgeModel
from pangu_verl_judge.replies import PairwiseReply, PointwiseReply, UnusableReply

REFERENCE = "reference_response"
_WORTH = {"first": 1.0, "tie": 0.5, "second": 0.0}


class JudgeSource:
    """Judges open-ended answers.

    ``judge`` takes rows of domain "general" that have no ground truth. ``opinion`` takes any row, for code that wants
    a second one. Both compare with ``row.extra["reference_response"]`` where there is one, else grade by the rubric.
    """

    name = "judge"
    domains = frozenset({"general"})

    def __init__(self, model: JudgeModel) -> None:
        self._model = model

    def with_endpoint(self, address: str, model: str) -> JudgeSource:
        """The source that asks verl's reward-model pool, if the settings say so; see ``JudgeModel``."""
        return JudgeSource(self._model.with_endpoint(address, model))

    async def judge(self, row: RewardRow) -> Verdict:
        if row.ground_truth is not None:
            return self._verdict(None, "the row has a ground truth, which this source does not compare with", {})
        return await self.opinion(row)

    async def opinion(self, row: RewardRow) -> Verdict:
        """The judge's verdict on any row; a ground truth, where there is one, is shown to the judge as right."""
        started = time.perf_counter()
        return replace(await self._opinion(row), seconds=time.perf_counter() - started)

    async def close(self) -> None:
        await self._model.close()

    async def _opinion(self, row: RewardRow) -> Verdict:
        reference = row.extra.get(REFERENCE)
        if reference is not None and not (isinstance(reference, str) and reference.strip()):
            return self._verdict(None, f"extra[{REFERENCE!r}] has to be a text, got {type(reference).__name__}", {})
        if not row.answer.strip():
            return self._verdict(0.0, "the answer is empty", {})
        try:
            return await (self._pointwise(row) if reference is None else self._pairwise(row, reference))
        except (UnusableReply, JudgeUnavailable) as error:
            return self._model.unjudged(self.name, error)

    async def _pointwise(self, row: RewardRow) -> Verdict:
        settings = self._model.settings
        lowest, highest = settings.lowest_score, settings.highest_score
        request = prompt.pointwise_request(row.question, row.answer, row.ground_truth, settings)
        reply, cached = await self._model.ask(request, PointwiseReply)
        if not lowest <= reply.score <= highest:
            raise UnusableReply(f"the judge's score {reply.score:g} is not on the scale {lowest:g}..{highest:g}")
        details = {"judge_score": reply.score} | self._model.details(request, reply.reason, cached=cached)
        score = (reply.score - lowest) / (highest - lowest)
        return self._verdict(score, f"the judge gives {reply.score:g} on {lowest:g}..{highest:g}", details)

    async def _pairwise(self, row: RewardRow, reference: str) -> Verdict:
        requests = [
            prompt.pairwise_request(row.question, first, second, row.ground_truth, self._model.settings)
            for first, second in ((row.answer, reference), (reference, row.answer))
        ]
        (ahead, ahead_cached), (behind, behind_cached) = await _both(
            self._model.ask(requests[0], PairwiseReply), self._model.ask(requests[1], PairwiseReply)
        )
        worths = _WORTH[ahead.preferred], 1.0 - _WORTH[behind.preferred]
        details = {
            "preferred": [ahead.preferred, behind.preferred],
            "orders_agree": worths[0] == worths[1],
        } | self._model.details(requests[0], ahead.reason, cached=ahead_cached and behind_cached)
        reason = f"against the reference: {worths[0]:g} when shown first, {worths[1]:g} when shown second"
        return self._verdict(sum(worths) / 2, reason, details)

    def _verdict(self, score: float | None, reason: str, details: dict[str, Any]) -> Verdict:
        return Verdict(score=score, passed=None, reason=reason, source=self.name, details=details)


_Asked = tuple[PairwiseReply, bool]


async def _both(first: Coroutine[Any, Any, _Asked], second: Coroutine[Any, Any, _Asked]) -> tuple[_Asked, _Asked]:
    """Both at a time; with the failure of one the other is cancelled, and one of their errors is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = group.create_task(first), group.create_task(second)
    except* (UnusableReply, JudgeUnavailable) as errors:
        raised = errors.exceptions[0]
    else:
        return tasks[0].result(), tasks[1].result()
    raise raised
