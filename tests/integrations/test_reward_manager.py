"""Rewards as verl's reward workers ask for them, on rows made by hand in verl's own container."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.trainer.ppo.reward import load_reward_manager

from pangu_verl.integrations.verl import reward_manager
from pangu_verl.integrations.verl.reward_manager import PanguRewardManager, UnjudgedResponse
from pangu_verl.types import RewardRow, Verdict

KEYS = {"score", "passed", "format_failure", "response_tokens", "reason", "data_source"}


@pytest.fixture(scope="session")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the driver was told, instead of an actor of Ray."""
    messages: list[str] = []
    monkeypatch.setattr(reward_manager, "report_failure", messages.append)
    return messages


@pytest.fixture
def manager(tokenizer: Any, reported: list[str]) -> PanguRewardManager:
    return make_manager(tokenizer)


def make_manager(tokenizer: Any, function: Callable[..., Any] | None = None) -> PanguRewardManager:
    custom = {"path": "mine.py" if function else None, "name": "compute_score"}
    return PanguRewardManager(OmegaConf.create({"reward": {"custom_reward_function": custom}}), tokenizer, function)


def data(tokenizer: Any, *responses: str, padding: int = 0, **columns: Any) -> DataProto:
    """One trajectory of verl: a row per output, the prompt before the response, padded on the right."""
    found: dict[str, Any] = {
        "data_source": "sums",
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "4"},
        "extra_info": {"index": 7},
        "raw_prompt": [{"role": "user", "content": "What is 1 + 3?"}],
        **columns,
    }
    rows = [
        torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=torch.int64) for text in responses
    ]
    pad = torch.nn.utils.rnn.pad_sequence
    ids = torch.nn.functional.pad(pad(rows, batch_first=True), (0, padding))
    mask = torch.nn.functional.pad(pad([torch.ones_like(row) for row in rows], batch_first=True), (0, padding))
    prompts = torch.ones(len(rows), 3, dtype=torch.int64)
    batch = {"prompts": prompts, "responses": ids, "attention_mask": torch.cat([torch.ones_like(prompts), mask], dim=1)}
    non_tensor = {name: np.array([value] * len(rows)) for name, value in found.items() if value is not ...}
    return DataProto(batch=TensorDict(batch, batch_size=len(rows)), non_tensor_batch=non_tensor)


# --- our own sources -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "score", "passed", "format_failure"),
    [
        ("4", 1.0, True, 0.0),
        ("The answer is 4.", 1.0, True, 0.0),
        ("<think>1 and 3 make 5?</think>4", 1.0, True, 0.0),
        ("5", 0.0, False, 0.0),
        ("<think>4</think>The answer is 5.", 0.0, False, 0.0),
        ("I would rather not say which it could possibly be, in case I am mistaken", 0.0, False, 1.0),
        ("", 0.0, False, 1.0),
        ("<think>The answer is 4.</think>", 0.0, False, 1.0),
        ("<think>The answer is 4.", 0.0, False, 1.0),
    ],
)
async def test_a_response_is_judged_by_what_follows_the_reasoning(
    manager: PanguRewardManager, tokenizer: Any, response: str, score: float, passed: bool, format_failure: float
) -> None:
    found = await manager.run_single(data(tokenizer, response, padding=1))
    extra = found["reward_extra_info"]
    assert found["reward_score"] == extra["score"] == score
    assert (extra["passed"], extra["format_failure"]) == (passed, format_failure)
    assert set(extra) == KEYS


async def test_tokens_are_counted_without_padding(manager: PanguRewardManager, tokenizer: Any) -> None:
    found = await manager.run_single(data(tokenizer, "12 4", padding=5))
    assert found["reward_extra_info"]["response_tokens"] == 4


async def test_of_several_outputs_the_last_is_judged(manager: PanguRewardManager, tokenizer: Any) -> None:
    assert (await manager.run_single(data(tokenizer, "4", "5")))["reward_score"] == 0.0
    assert (await manager.run_single(data(tokenizer, "5", "4")))["reward_score"] == 1.0


async def test_special_tokens_are_no_part_of_the_answer(manager: PanguRewardManager, tokenizer: Any) -> None:
    assert (await manager.run_single(data(tokenizer, "4<|im_end|>")))["reward_score"] == 1.0


async def test_values_are_plain_and_can_be_dumped(manager: PanguRewardManager, tokenizer: Any) -> None:
    extra = (await manager.run_single(data(tokenizer, "4")))["reward_extra_info"]
    assert {type(value) for value in extra.values()} <= {float, int, bool, str}


@pytest.mark.parametrize("gold", [{"ground_truth": None}, {"style": "rule"}, {"ground_truth": ""}])
async def test_a_row_without_gold_is_unjudged_and_not_wrong(
    manager: PanguRewardManager, tokenizer: Any, reported: list[str], gold: dict[str, Any]
) -> None:
    with pytest.raises(UnjudgedResponse, match="row 7: the row has no ground truth"):
        await manager.run_single(data(tokenizer, "4", reward_model=gold))
    assert reported == []


@pytest.mark.parametrize("ability", ["poetry", "", ...])
async def test_an_ability_without_a_source_ends_the_run_by_name(
    manager: PanguRewardManager, tokenizer: Any, reported: list[str], ability: object
) -> None:
    with pytest.raises(RuntimeError):
        await manager.run_single(data(tokenizer, "4", ability=ability))
    named = "" if ability is ... else ability
    assert reported == [f"row 7: no reward source for ability {named!r} (known: math)"]


@pytest.mark.parametrize(
    "columns", [{"reward_model": None}, {"reward_model": ...}, {"raw_prompt": ["text"]}, {"extra_info": "text"}]
)
async def test_columns_that_cannot_be_read_end_the_run_in_one_line(
    manager: PanguRewardManager, tokenizer: Any, reported: list[str], columns: dict[str, Any]
) -> None:
    with pytest.raises(RuntimeError):
        await manager.run_single(data(tokenizer, "4", **columns))
    (message,) = reported
    assert message.startswith("a row's columns cannot be read (")
    assert "\n" not in message


async def test_a_source_that_raises_ends_the_run_by_name(tokenizer: Any, reported: list[str]) -> None:
    class Broken:
        name = "broken"
        domains = frozenset({"math"})

        async def judge(self, row: RewardRow) -> Verdict:
            raise ZeroDivisionError("first\nsecond")

    manager = make_manager(tokenizer)
    manager._source_by_domain = {"math": Broken()}
    with pytest.raises(RuntimeError):
        await manager.run_single(data(tokenizer, "4"))
    assert reported == ["row 7: reward source 'broken' raised ZeroDivisionError: first"]


async def test_rows_without_optional_columns_are_judged(manager: PanguRewardManager, tokenizer: Any) -> None:
    found = await manager.run_single(data(tokenizer, "4", raw_prompt=..., extra_info=..., data_source=...))
    assert found["reward_score"] == 1.0


# --- the user's own function -----------------------------------------------------------------------------------------


def both_ways(result: Callable[[], Any]) -> list[Callable[..., Any]]:
    """A function that returns or raises what ``result`` does, as such and as a coroutine."""

    def plain(**_: Any) -> Any:
        return result()

    async def awaited(**_: Any) -> Any:
        return result()

    return [plain, awaited]


def raises() -> Any:
    raise KeyError("solution\nand more")


@pytest.mark.parametrize(
    ("value", "score", "extra"),
    [
        (0.5, 0.5, {"score": 0.5}),
        (1, 1.0, {"score": 1}),
        (True, 1.0, {"score": True}),
        (-3.5, -3.5, {"score": -3.5}),
        (np.float32(0.25), 0.25, {"score": np.float32(0.25)}),
        ({"score": 0.5, "format": 1.0}, 0.5, {"score": 0.5, "format": 1.0}),
    ],
)
async def test_a_functions_number_is_the_reward(
    tokenizer: Any, reported: list[str], value: Any, score: float, extra: dict[str, Any]
) -> None:
    for function in both_ways(lambda: value):
        found = await make_manager(tokenizer, function).run_single(data(tokenizer, "4"))
        assert type(found["reward_score"]) is float
        assert found == {"reward_score": score, "reward_extra_info": extra}
    assert reported == []


@pytest.mark.parametrize(
    "value",
    [
        "0.5",
        None,
        float("nan"),
        float("inf"),
        -float("inf"),
        np.float64("nan"),
        1j,
        [0.5],
        {},
        {"score": None},
        {"score": "1"},
        {"score": float("nan")},
        {"acc": 1.0},
        torch.tensor(1.0),
        "x" * 1000 + "\n",
    ],
)
async def test_a_function_that_returns_no_finite_number_ends_the_run_by_name(
    tokenizer: Any, reported: list[str], value: Any
) -> None:
    for function in both_ways(lambda: value):
        with pytest.raises(RuntimeError):
            await make_manager(tokenizer, function).run_single(data(tokenizer, "4"))
    assert len(reported) == 2
    for message in reported:
        assert message.startswith("reward.custom_reward_function mine.py:compute_score returned ")
        assert message.endswith(", expected a finite number or a dict whose 'score' is one")
        assert "\n" not in message
        assert len(message) < 400


async def test_a_function_that_raises_ends_the_run_by_name(tokenizer: Any, reported: list[str]) -> None:
    for function in both_ways(raises):
        with pytest.raises(RuntimeError):
            await make_manager(tokenizer, function).run_single(data(tokenizer, "4"))
    assert (
        reported == ["reward.custom_reward_function mine.py:compute_score raised KeyError: 'solution\\nand more'"] * 2
    )


async def test_a_function_with_other_parameters_ends_the_run_by_name(tokenizer: Any, reported: list[str]) -> None:
    with pytest.raises(RuntimeError):
        await make_manager(tokenizer, lambda text: 1.0).run_single(data(tokenizer, "4"))
    assert "unexpected keyword argument" in reported[0]


async def test_a_function_gets_verls_four_arguments(tokenizer: Any, reported: list[str]) -> None:
    seen: dict[str, Any] = {}

    def function(**arguments: Any) -> float:
        seen.update(arguments)
        return 0.0

    await make_manager(tokenizer, function).run_single(data(tokenizer, "<think>a</think>4", ability=...))
    assert seen == {
        "data_source": "sums",
        "solution_str": "<think>a</think>4",
        "ground_truth": "4",
        "extra_info": {"index": 7},
    }


async def test_a_function_may_do_without_gold(tokenizer: Any, reported: list[str]) -> None:
    manager = make_manager(tokenizer, lambda *, ground_truth, **_: float(ground_truth is None))
    found = await manager.run_single(data(tokenizer, "4", reward_model={"style": "model"}, extra_info=None))
    assert found["reward_score"] == 1.0


def test_verl_builds_our_manager_from_the_shipped_configuration(tokenizer: Any, tmp_path: Path) -> None:
    from pangu_verl.integrations.verl.configuration import compose

    module = tmp_path / "mine.py"
    module.write_text("def compute_score(**_):\n    return 1.0\n")
    config = compose("ppo", [f"reward.custom_reward_function.path={module}"])
    arguments = {"reward_router_address": None, "reward_model_tokenizer": None}
    assert isinstance(load_reward_manager(config, tokenizer, **arguments), PanguRewardManager)
