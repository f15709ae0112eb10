"""The user's own reward function, as verl's reward workers call it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from made_rewards import data, make_manager


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
