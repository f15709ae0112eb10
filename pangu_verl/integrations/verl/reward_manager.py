"""verl's reward manager over our reward sources, or over the user's own ``reward.custom_reward_function``.

verl calls ``run_single`` once per trajectory in its reward workers. Invariants: with our sources it never raises, and a
response that could not be judged has ``judged`` false and a finite placeholder for a score (verl's queue needs one),
which ``judged_training.py`` keeps out of training. Too many of them end the run by name (``shared_state.py``), as do
rows that no source is there for. Who judges a row is decided by ``mars/ladder.py``. A function of the user's own yields
``score`` and what else it returns, and ends the run by name where it is broken.

Under verl's own entry point nobody keeps the placeholder out, so there an unjudged response raises after all: verl then
leaves its trajectory out.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import numbers
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from omegaconf import OmegaConf
from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from pangu_verl.errors import first_line
from pangu_verl.integrations.verl.monitor import report_failure
from pangu_verl.integrations.verl.pool_rewards import at_pool, users_function
from pangu_verl.integrations.verl.reward_rows import UnreadableTests, reward_of_verdict, row_of
from pangu_verl.integrations.verl.shared_state import Recorder, settings_of, trains_on_placeholders
from pangu_verl.mars.asking import unjudged
from pangu_verl.mars.composition import compose
from pangu_verl.mars.ladder import Judged, Ladder
from pangu_verl.mars.preference import is_preference, on_scale, task_of
from pangu_verl.mars.state import JudgedRow
from pangu_verl.plugins import load_plugins
from pangu_verl.types import AuxiliaryTerm, RewardRow, Verdict

#: The source of a row that no source is there for.
NOBODY = "none"
_SHOWN_CHARACTERS = 200


class UnjudgedResponse(Exception):
    """A response could not be judged in a run whose trainer would take a placeholder for its score."""


class PanguRewardManager(RewardManagerBase):
    """Judges a row by the ladder for its ``ability`` (verl's column for the domain)."""

    def __init__(
        self, config: Any, tokenizer: Any, compute_score: Any, reward_router_address: str | None = None, **_: Any
    ) -> None:
        super().__init__(config, tokenizer, compute_score)
        path = users_function(config)
        self._custom_name = f"{path}:{config.reward.custom_reward_function.name}" if path else None
        self._ladders: dict[str, Ladder] = {}
        self._terms: list[AuxiliaryTerm] = []
        #: Held, because the event loop holds tasks weakly.
        self._audits: set[asyncio.Task[None]] = set()
        self._max_response_tokens = OmegaConf.select(config, "data.max_response_length")
        if self._custom_name is None:
            plugins = load_plugins()
            plugins.require()
            settings = settings_of(config)
            sources = plugins.reward_sources
            if reward_router_address is not None:
                sources = at_pool(sources, reward_router_address, str(config.reward.reward_model.model_path))
            self._ladders = settings.ladders(sources)
            self._terms = settings.chosen_terms(plugins.auxiliary_terms)
            self._recorder = Recorder(settings)
            self._needs_a_score = trains_on_placeholders()

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Score the last row of ``data``: ``{"reward_score": float, "reward_extra_info": {...}}``."""
        item = data[-1:][0]
        length = item.batch["responses"].shape[-1]
        response_tokens = int(item.batch["attention_mask"][-length:].sum())
        response_ids = item.batch["responses"][:response_tokens]
        columns = item.non_tensor_batch
        try:
            response = await asyncio.to_thread(self.tokenizer.decode, response_ids, skip_special_tokens=True)
            row = row_of(
                response,
                columns,
                response_tokens=response_tokens,
                max_response_tokens=self._max_response_tokens,
            )
        except Exception as error:  # noqa: BLE001 - it becomes a verdict with a reason
            return self._unread(error, columns, response_tokens)
        if self._custom_name is not None:
            return await self._by_custom_function(response, columns)
        verdict = await self._verdict(row)
        if verdict.score is None and self._needs_a_score:
            raise UnjudgedResponse(f"row {row.id}: {verdict.reason}")
        return reward_of_verdict(verdict, response_tokens=response_tokens, data_source=row.extra["data_source"])

    def _unread(self, error: Exception, columns: Mapping[str, Any], response_tokens: int) -> dict[str, Any]:
        """What becomes of a row that cannot be read: columns of another shape end the run, tests or checks do not."""
        complaint = (
            str(error)
            if isinstance(error, UnreadableTests)
            else f"a row's columns cannot be read ({type(error).__name__}: {first_line(error)}); "
            "expected verl's prompt, data_source, ability, reward_model and extra_info"
        )
        if self._custom_name is not None:
            raise _broken(complaint) from error
        if not isinstance(error, UnreadableTests):
            report_failure(complaint)
        verdict = unjudged(NOBODY, complaint)
        self._recorder.record(JudgedRow(id="", domain=str(columns.get("ability", "")), verdict=verdict))
        if self._needs_a_score:
            raise UnjudgedResponse(complaint) from error
        return reward_of_verdict(verdict, response_tokens=response_tokens, data_source="")

    async def _verdict(self, row: RewardRow) -> Verdict:
        """The composed verdict of a row, which is also recorded."""
        await self._recorder.listen()
        started = time.perf_counter()
        shared = self._recorder.shared
        if (ladder := self._ladders.get(row.domain)) is None:
            known = ", ".join(sorted(self._ladders))
            complaint = f"row {row.id}: no reward source for ability {row.domain!r} (known: {known})"
            report_failure(complaint)
            judged = Judged(verdict=unjudged(NOBODY, complaint))
        else:
            judged = await ladder.judge(row, shared)
        found = judged.verdict
        task = task_of(row, found.source)
        verdict = compose(row, on_scale(found, shared.scales.get(task)), self._terms)
        verdict = replace(verdict, seconds=time.perf_counter() - started)
        recorded = JudgedRow(
            id=row.id,
            domain=row.domain,
            verdict=replace(verdict, details={"breakdown": verdict.details.get("breakdown", {})}),
            opinions=judged.opinions,
            preference=(task, found.score) if is_preference(found) and found.score is not None else None,
        )
        if ladder is not None and ladder.audits(row):
            # An audit changes nothing for this row, which therefore does not wait for it.
            audit = asyncio.ensure_future(self._record_audited(ladder, row, judged, recorded))
            self._audits.add(audit)
            audit.add_done_callback(self._audits.discard)
        else:
            self._recorder.record(recorded)
        return verdict

    async def _record_audited(self, ladder: Ladder, row: RewardRow, judged: Judged, recorded: JudgedRow) -> None:
        opinions = await ladder.audited(row, judged, self._recorder.shared)
        self._recorder.record(replace(recorded, opinions=opinions))

    async def _by_custom_function(self, response: str, columns: dict[str, Any]) -> dict[str, Any]:
        arguments = {
            "data_source": columns.get("data_source"),
            "solution_str": response,
            "ground_truth": columns["reward_model"].get("ground_truth"),
            "extra_info": columns.get("extra_info") or {},
        }
        name = f"reward.custom_reward_function {self._custom_name}"
        try:
            result = await asyncio.to_thread(self.compute_score, **arguments)
            result = await result if inspect.isawaitable(result) else result
        except Exception as error:
            raise _broken(f"{name} raised {type(error).__name__}: {first_line(error)}") from error
        extra = dict(result) if isinstance(result, dict) else {"score": result}
        score = extra.get("score")
        if not isinstance(score, numbers.Real) or not math.isfinite(score):
            raise _broken(f"{name} returned {_shown(result)}, expected a finite number or a dict whose 'score' is one")
        return {"reward_score": float(score), "reward_extra_info": extra}


def _shown(value: object) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - so may __repr__
        text = f"a {type(value).__name__} that cannot be printed"
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _broken(message: str) -> RuntimeError:
    """Report a reward that cannot be trusted at all to the driver, which ends the run."""
    report_failure(message)
    return RuntimeError(message)
