import asyncio

from {{ cookiecutter.package }} import Closeness

from pangu_verl.types import RewardRow


def judge(answer, ground_truth="4"):
    row = RewardRow(id="1", domain="{{ cookiecutter.domain }}", question="", response=answer, answer=answer, ground_truth=ground_truth)
    return asyncio.run(Closeness().judge(row))


def test_the_right_number_passes():
    assert (judge("It is 4.").score, judge("It is 4.").passed) == (1.0, True)


def test_a_near_number_earns_part_and_does_not_pass():
    assert (judge("It is 5.").score, judge("It is 5.").passed) == (0.5, False)


def test_a_row_without_gold_is_not_judged():
    assert judge("4", ground_truth=None).score is None
