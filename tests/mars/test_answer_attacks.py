"""The attack suite of answers: none is paid, each is paid by the gullible grader that it was made for, and bombs end
in a verdict.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from answer_attacks import BOMBS, MATHS_ATTACKS, AnswerAttack
from answer_attacks_words import WORDS_ATTACKS

from pangu_verl.mars.answers import split_reasoning
from pangu_verl.mars.choice import ChoiceSource
from pangu_verl.mars.general import GeneralSource
from pangu_verl.mars.maths import MathsSource
from pangu_verl.types import RewardRow, RewardSource, Verdict

PLUGIN = Path(__file__).parents[2] / "plugins" / "pangu-verl-ifeval"
ATTACKS = [*MATHS_ATTACKS, *WORDS_ATTACKS]

Judge = Callable[[AnswerAttack], Verdict]


@pytest.fixture(scope="module")
def sources() -> Iterator[dict[str, RewardSource]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGIN))
        from pangu_verl_ifeval.source import InstructionSource

        maths = MathsSource()
        yield {"math": maths, "choice": ChoiceSource(), "general": GeneralSource(), "instruction": InstructionSource()}
        maths.close()


@pytest.fixture(scope="module")
def judge(sources: dict[str, RewardSource]) -> Judge:
    def verdict_on(attack: AnswerAttack) -> Verdict:
        row = RewardRow(
            id=attack.name,
            domain=attack.domain,
            question=attack.question,
            response=attack.response,
            answer=split_reasoning(attack.response),
            ground_truth=attack.gold,
            checks=attack.checks,
        )
        return asyncio.run(sources[attack.domain].judge(row))

    return verdict_on


def test_suite_is_broad() -> None:
    assert len(ATTACKS) >= 40
    assert len({attack.family for attack in ATTACKS}) >= 12
    assert {attack.domain for attack in ATTACKS} == {"math", "choice", "general", "instruction"}
    assert len({(attack.family, attack.name) for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.family}: {attack.name}")
def test_attack_is_not_paid_and_the_verdict_says_why(attack: AnswerAttack, judge: Judge) -> None:
    verdict = judge(attack)
    assert verdict.reason
    assert verdict.passed is not True, verdict.reason
    is_a_share = attack.domain == "general" and verdict.score is not None and verdict.score < 1.0
    assert not verdict.score or is_a_share, verdict.reason


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.family}: {attack.name}")
def test_attack_is_paid_by_the_grader_that_it_was_made_for(attack: AnswerAttack) -> None:
    assert attack.paid_by(attack.gold, attack.response)


@pytest.mark.parametrize("paid_by", {attack.paid_by for attack in ATTACKS}, ids=lambda paid_by: paid_by.__name__)
def test_gullible_grader_does_not_pay_for_anything_at_all(paid_by: Callable[[str, str], bool]) -> None:
    assert not paid_by("1729", r"Done: \boxed{86}")


def test_row_after_bombs_is_judged(judge: Judge) -> None:
    for bomb in BOMBS[:3]:
        judge(bomb)
    assert judge(AnswerAttack("honest", "none", "x+1", r"\boxed{1+x}", BOMBS[0].paid_by)).passed is True
