"""Rewards as verl's reward workers ask for them, on rows made by hand in verl's own container."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_rewards import data, make_manager
from verl.trainer.ppo.reward import load_reward_manager

from pangu_verl.errors import WrongUse
from pangu_verl.integrations.verl.reward_manager import PanguRewardManager, UnjudgedResponse
from pangu_verl.mars.ladder import Ladder, LadderOptions
from pangu_verl.mars.preference import Moments
from pangu_verl.mars.state import JudgedRow, Shared
from pangu_verl.types import RewardRow, Verdict

KEYS = {
    "score",
    "passed",
    "judged",
    "format_failure",
    "response_tokens",
    "seconds",
    "source",
    "reason",
    "data_source",
}


@pytest.fixture
def manager(tokenizer: Any, reported: list[str]) -> PanguRewardManager:
    return make_manager(tokenizer)


def judging_by(tokenizer: Any, judge: Callable[[RewardRow], Any], **rewards: Any) -> PanguRewardManager:
    """A manager whose source for maths does what ``judge`` does."""

    class Source:
        name = "mine"
        domains = frozenset({"math"})

        async def judge(self, row: RewardRow) -> Any:
            return judge(row)

    manager = make_manager(tokenizer, **rewards)
    manager._ladders = {"math": Ladder("math", [Source()])}
    return manager


def unjudged(found: dict[str, Any]) -> str:
    """The reason of a reward that has to be unjudged as a whole."""
    extra = found["reward_extra_info"]
    assert found["reward_score"] == 0.0
    assert (extra["judged"], extra["score"], extra["passed"], extra["format_failure"]) == (False, None, None, None)
    assert set(extra) >= KEYS
    return str(extra["reason"])


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
    assert (extra["judged"], extra["source"]) == (True, "maths")
    assert set(extra) - KEYS == {name for name in extra if name == "correctness" or name.startswith("auxiliary/")}


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
    found = await manager.run_single(data(tokenizer, "4", reward_model=gold))
    assert "no ground truth" in unjudged(found)
    assert reported == []


@pytest.mark.parametrize("ability", ["poetry", "", ...])
async def test_an_ability_without_a_source_ends_the_run_by_name(
    manager: PanguRewardManager, tokenizer: Any, reported: list[str], ability: object
) -> None:
    found = await manager.run_single(data(tokenizer, "4", ability=ability))
    named = "" if ability is ... else ability
    (message,) = reported
    assert message.startswith(f"row 7: no reward source for ability {named!r} (known: ")
    assert unjudged(found) == message


@pytest.mark.parametrize(
    "columns",
    [
        {"reward_model": None},
        {"reward_model": ...},
        {"raw_prompt": ["text"]},
        {"extra_info": "text"},
    ],
)
async def test_columns_that_cannot_be_read_end_the_run_in_one_line(
    manager: PanguRewardManager, tokenizer: Any, reported: list[str], columns: dict[str, Any]
) -> None:
    found = await manager.run_single(data(tokenizer, "4", **columns))
    (message,) = reported
    assert message.startswith("a row's columns cannot be read (")
    assert "\n" not in message
    assert unjudged(found) == message


def forged(**fields: Any) -> Verdict:
    """A verdict that its own checks never saw."""
    verdict = Verdict(score=1.0, passed=True, reason="right", source="mine")
    for name, value in fields.items():
        object.__setattr__(verdict, name, value)
    return verdict


@pytest.mark.parametrize(
    ("extra_info", "said"),
    [
        ({"tests": "[1"}, "extra_info.tests is no list of objects"),
        ({"tests": 3}, "extra_info.tests is no list of objects"),
        ({"checks": ["no_commas"]}, "extra_info.checks holds a str, expected objects"),
    ],
)
async def test_tests_of_one_row_that_cannot_be_read_leave_that_row_unjudged(
    manager: PanguRewardManager, tokenizer: Any, reported: list[str], extra_info: dict[str, Any], said: str
) -> None:
    found = await manager.run_single(data(tokenizer, "4", extra_info=extra_info))
    assert unjudged(found).startswith(said)
    assert reported == []
    assert (await manager.run_single(data(tokenizer, "4")))["reward_score"] == 1.0


async def test_an_audited_row_does_not_wait_for_its_audit(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    released = asyncio.Event()

    class Slow:
        name = "slow"
        domains = frozenset({"math"})

        async def judge(self, row: RewardRow) -> Verdict:
            await released.wait()
            return Verdict(score=0.0, passed=False, reason="wrong", source="slow")

    manager = judging_by(tokenizer, lambda row: forged())
    manager._ladders = {"math": Ladder("math", [*manager._ladders["math"].rungs, Slow()], LadderOptions(audit_share=1))}
    recorded: list[JudgedRow] = []
    monkeypatch.setattr(manager._recorder, "record", recorded.append)
    assert (await manager.run_single(data(tokenizer, "4")))["reward_score"] == 1.0
    assert recorded == []
    released.set()
    await asyncio.gather(*manager._audits)
    assert [(opinion.source, opinion.is_audit) for opinion in recorded[0].opinions] == [("mine", False), ("slow", True)]


async def test_a_source_that_raises_has_not_judged(tokenizer: Any, reported: list[str]) -> None:
    def judge(row: RewardRow) -> Verdict:
        raise ZeroDivisionError("first\nsecond")

    found = await judging_by(tokenizer, judge).run_single(data(tokenizer, "4"))
    assert unjudged(found) == "reward source 'mine' raised ZeroDivisionError: first"
    assert reported == []


async def test_where_the_trainer_takes_placeholders_for_scores_an_unjudged_response_raises(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pangu_verl.integrations.verl.reward_manager.trains_on_placeholders", lambda: True)
    with pytest.raises(UnjudgedResponse, match="row 7: reward source 'mine' returned None"):
        await judging_by(tokenizer, lambda row: None).run_single(data(tokenizer, "4"))
    assert (await judging_by(tokenizer, lambda row: forged()).run_single(data(tokenizer, "4")))["reward_score"] == 1.0


async def test_the_parts_of_a_score_are_kept_apart(tokenizer: Any) -> None:
    class Bonus:
        name = "bonus"

        def apply(self, row: RewardRow, verdict: Verdict) -> float:
            return -0.25

    manager = judging_by(tokenizer, lambda row: Verdict(score=0.75, passed=True, reason="right", source="mine"))
    manager._terms = [Bonus()]
    extra = (await manager.run_single(data(tokenizer, "4")))["reward_extra_info"]
    assert (extra["score"], extra["correctness"], extra["auxiliary/bonus"]) == (0.5, 0.75, -0.25)


async def test_every_row_is_recorded(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[JudgedRow] = []
    verdicts = iter([forged(), forged(passed=False), forged(score=None, passed=None, reason="no gold"), None])
    manager = judging_by(tokenizer, lambda row: next(verdicts))
    monkeypatch.setattr(manager._recorder, "record", recorded.append)
    for _ in range(4):
        await manager.run_single(data(tokenizer, "4"))
    assert [(each.id, each.domain, each.verdict.passed) for each in recorded] == [
        ("7", "math", True),
        ("7", "math", False),
        ("7", "math", None),
        ("7", "math", None),
    ]
    assert [each.verdict.score is None for each in recorded] == [False, False, True, True]
    assert all([opinion.source for opinion in each.opinions] == ["mine"] for each in recorded)
    assert all(set(each.verdict.details) == {"breakdown"} for each in recorded)


async def test_a_preference_counts_on_the_scale_of_its_task_and_is_recorded_as_given(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = judging_by(tokenizer, lambda row: Verdict(score=0.9, passed=None, reason="liked", source="mine"))
    seen = Moments(count=100, mean=0.9, squares=1.0)
    monkeypatch.setattr(manager._recorder, "shared", Shared(routes={}, scales={"mine/sums": seen}))
    recorded: list[JudgedRow] = []
    monkeypatch.setattr(manager._recorder, "record", recorded.append)
    assert (await manager.run_single(data(tokenizer, "4")))["reward_score"] == pytest.approx(0.5)
    assert recorded[0].preference == ("mine/sums", 0.9)


async def test_a_source_that_leaves_too_many_rows_unjudged_ends_the_run_once_by_name(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pangu_verl.integrations.verl import shared_state

    ended: list[str] = []
    monkeypatch.setattr(shared_state, "report_failure", ended.append)
    manager = judging_by(tokenizer, lambda row: None, unjudged_limit=0.5, unjudged_window_rows=4)
    for _ in range(2):
        await manager.run_single(data(tokenizer, "4"))
    assert ended == []
    for _ in range(3):
        await manager.run_single(data(tokenizer, "4"))
    (message,) = ended
    assert message.startswith("reward source 'mine' could not judge 3 of its last 3 rows (3 times: reward source … ")


def test_a_limit_that_means_nothing_is_refused_by_its_key(tokenizer: Any) -> None:
    with pytest.raises(WrongUse, match=r"pangu\.rewards\.unjudged_limit: "):
        make_manager(tokenizer, unjudged_limit=1.5)


async def test_rows_without_optional_columns_are_judged(manager: PanguRewardManager, tokenizer: Any) -> None:
    found = await manager.run_single(data(tokenizer, "4", raw_prompt=..., extra_info=..., data_source=...))
    assert found["reward_score"] == 1.0


def test_verl_builds_our_manager_from_the_shipped_configuration(tokenizer: Any, tmp_path: Path) -> None:
    from pangu_verl.integrations.verl.configuration import compose

    module = tmp_path / "mine.py"
    module.write_text("def compute_score(**_):\n    return 1.0\n")
    config = compose("ppo", [f"reward.custom_reward_function.path={module}"])
    arguments = {"reward_router_address": None, "reward_model_tokenizer": None}
    assert isinstance(load_reward_manager(config, tokenizer, **arguments), PanguRewardManager)
