"""verl's reward manager over our reward sources, or over the user's own ``reward.custom_reward_function``.

verl calls ``run_single`` once per trajectory in its reward workers. Invariants: every trajectory yields the same keys
in ``reward_extra_info`` (from a custom function: ``score`` and what else it returns); a response that could not be
judged is never scored 0: it fails its trajectory, which verl then leaves out; a reward that is itself broken (raises,
returns no number) ends the run, named.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import numbers
from typing import Any

from omegaconf import OmegaConf
from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from pangu_verl.errors import first_line
from pangu_verl.integrations.verl.monitor import report_failure
from pangu_verl.mars.answers import split_reasoning
from pangu_verl.mars.dispatch import KEY, source_by_domain
from pangu_verl.plugins import load_plugins
from pangu_verl.types import RewardRow, RewardSource, Verdict

_SHOWN_CHARACTERS = 200


class UnjudgedResponse(Exception):
    """A source could not judge a response. verl leaves the trajectory out; the message says why."""


class PanguRewardManager(RewardManagerBase):
    """Judges a row by the source for its ``ability`` (verl's column for the domain)."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        custom = config.reward.custom_reward_function
        self._custom_name = f"{custom.path}:{custom.name}" if custom.path else None
        self._source_by_domain = {} if custom.path else _sources(config)

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Score the last row of ``data``: ``{"reward_score": float, "reward_extra_info": {...}}``."""
        item = data[-1:][0]
        length = item.batch["responses"].shape[-1]
        response_tokens = int(item.batch["attention_mask"][-length:].sum())
        response_ids = item.batch["responses"][:response_tokens]
        response = await asyncio.to_thread(self.tokenizer.decode, response_ids, skip_special_tokens=True)
        try:
            row = _reward_row(response, item.non_tensor_batch)
        except Exception as error:
            raise _broken(
                f"a row's columns cannot be read ({type(error).__name__}: {first_line(error)}); "
                "expected verl's prompt, data_source, ability, reward_model and extra_info"
            ) from error
        if self._custom_name is not None:
            return await self._by_custom_function(response, item.non_tensor_batch)
        return _as_reward(row, await self._by_source(row), response_tokens)

    async def _by_source(self, row: RewardRow) -> Verdict:
        source = self._source_by_domain.get(row.domain)
        if source is None:
            known = ", ".join(sorted(self._source_by_domain))
            raise _broken(f"row {row.id}: no reward source for ability {row.domain!r} (known: {known})")
        try:
            return await source.judge(row)
        except Exception as error:
            raise _broken(
                f"row {row.id}: reward source {source.name!r} raised {type(error).__name__}: {first_line(error)}"
            ) from error

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


def _sources(config: Any) -> dict[str, RewardSource]:
    plugins = load_plugins()
    plugins.require()
    return source_by_domain(plugins.reward_sources, OmegaConf.select(config, KEY))


def _reward_row(response: str, columns: dict[str, Any]) -> RewardRow:
    ground_truth = columns["reward_model"].get("ground_truth")
    prompt = columns.get("raw_prompt")
    return RewardRow(
        id=str((columns.get("extra_info") or {}).get("index", "")),
        domain=str(columns.get("ability", "")),
        question=str(prompt[-1]["content"]) if prompt is not None and len(prompt) else "",
        response=response,
        answer=split_reasoning(response),
        ground_truth=None if ground_truth is None else str(ground_truth),
        extra={"data_source": str(columns.get("data_source", ""))},
    )


def _as_reward(row: RewardRow, verdict: Verdict, response_tokens: int) -> dict[str, Any]:
    if verdict.score is None:
        raise UnjudgedResponse(f"row {row.id}: {verdict.reason}")
    return {
        "reward_score": verdict.score,
        "reward_extra_info": {
            "score": verdict.score,
            "passed": bool(verdict.passed),
            "format_failure": float(bool(verdict.details.get("format_failure", False))),
            "response_tokens": response_tokens,
            "data_source": row.extra["data_source"],
            "reason": verdict.reason,
        },
    }


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _broken(message: str) -> RuntimeError:
    """Report a reward that cannot be trusted at all to the driver, which ends the run."""
    report_failure(message)
    return RuntimeError(message)
