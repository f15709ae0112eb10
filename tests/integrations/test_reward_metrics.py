"""Figures of rewards, against the same figures by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.integrations.verl.reward_metrics import judged_rewards, training_metrics, validation_metrics
from pangu_verl.integrations.verl.trajectories import Trajectory


def trajectory(
    total: float = 0.0, /, *, group: str = "a", session: int = 0, padding: bool = False, **reward: Any
) -> Any:
    return Trajectory(group=group, session=str(session), score=total, reward=reward, is_padding=padding)


def metrics(*rows: Trajectory, compares: bool = True, has_kl_in_reward: bool = False) -> dict[str, float]:
    return training_metrics(rows, compares=compares, has_kl_in_reward=has_kl_in_reward)


def test_each_source_reports_its_components_apart() -> None:
    found = metrics(
        trajectory(source="maths", judged=True, score=1.0, passed=True, seconds=0.5),
        trajectory(source="maths", judged=True, score=0.0, passed=False, seconds=0.25),
        trajectory(source="code", judged=True, score=0.25, correctness=0.5, **{"auxiliary/length": -0.25}),
    )
    assert found["rewards/maths/score"] == 0.5
    assert found["rewards/maths/passed"] == 0.5
    assert found["rewards/maths/seconds"] == 0.375
    assert found["rewards/maths/rows"] == 2
    assert found["rewards/code/correctness"] == 0.5
    assert found["rewards/code/auxiliary/length"] == -0.25
    assert "rewards/maths/correctness" not in found


def test_unjudged_rows_enter_no_mean_and_are_counted() -> None:
    found = metrics(
        trajectory(1.0, session=0, source="maths", judged=True, score=1.0, seconds=1.0),
        trajectory(0.0, session=1, source="maths", judged=False, score=None, passed=None, seconds=9.0),
    )
    assert found["rewards/maths/score"] == 1.0
    assert found["rewards/maths/seconds"] == 1.0
    assert found["rewards/maths/judged_share"] == 0.5
    assert found["rewards/unjudged_rows"] == 1


@given(scores=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20))
def test_verls_own_figures_of_scores_are_those_of_judged_rows(scores: list[tuple[float, bool]]) -> None:
    found = metrics(*(trajectory(score, judged=judged, score=score) for score, judged in scores))
    judged = [score for score, is_judged in scores if is_judged]
    if len(judged) == len(scores) or not judged:
        assert "critic/score/mean" not in found
    else:
        for name in ("score", "rewards"):
            assert found[f"critic/{name}/mean"] == pytest.approx(np.mean(judged))
            assert (found[f"critic/{name}/max"], found[f"critic/{name}/min"]) == (max(judged), min(judged))


def test_rewards_with_a_term_for_divergence_are_left_to_verl() -> None:
    found = metrics(trajectory(1.0, judged=True), trajectory(0.0, judged=False), has_kl_in_reward=True)
    assert "critic/score/mean" in found
    assert "critic/rewards/mean" not in found


def test_groups_with_fewer_than_two_judged_members_are_counted() -> None:
    rows = [
        *(trajectory(group="whole", session=session, judged=True) for session in range(2)),
        trajectory(group="single", session=0, judged=True),
        trajectory(group="single", session=1, judged=False),
        trajectory(group="none", session=0, judged=False),
        trajectory(group="padding", session=0, padding=True),
    ]
    assert metrics(*rows)["rewards/groups_without_comparison"] == 2
    assert "rewards/groups_without_comparison" not in metrics(*rows, compares=False)


def test_the_outputs_of_one_session_are_one_member() -> None:
    rows = [trajectory(group="a", session=0, judged=True) for _ in range(3)]
    assert metrics(*rows)["rewards/groups_without_comparison"] == 1


def test_padding_enters_nothing() -> None:
    found = metrics(trajectory(source="maths", score=1.0), trajectory(source="maths", score=0.0, padding=True))
    assert (found["rewards/maths/score"], found["rewards/maths/rows"]) == (1.0, 1)


def test_a_function_of_the_users_own_reports_what_it_returns() -> None:
    found = metrics(trajectory(score=0.5, brevity=np.float32(0.25), comment="good", parts=[1, 2], many=np.ones(3)))
    assert (found["rewards/custom/score"], found["rewards/custom/brevity"]) == (0.5, 0.25)
    assert not any(name.endswith(("comment", "parts", "many")) for name in found)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None, [], {}, object(), 10**400, 1j])
def test_what_is_no_finite_number_is_left_out(value: object) -> None:
    found = metrics(trajectory(source="maths", term=value), trajectory(source="maths", term=0.5))
    assert found["rewards/maths/term"] == 0.5


def test_a_step_without_trajectories_reports_nothing_wrong() -> None:
    assert metrics() == {"rewards/unjudged_rows": 0, "rewards/groups_without_comparison": 0}


# --- validation ------------------------------------------------------------------------------------------------------


@given(rows=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 1), st.booleans()), max_size=20))
def test_validation_means_are_those_of_judged_rows(rows: list[tuple[str, float, bool]]) -> None:
    infos = {"reward": [score for _, score, _ in rows], "judged": [judged for _, _, judged in rows]}
    found = validation_metrics([source for source, _, _ in rows], infos)
    for source in {source for source, _, _ in rows}:
        scores = [score for name, score, judged in rows if name == source and judged]
        total = sum(name == source for name, _, _ in rows)
        assert found[f"val-aux/{source}/judged_share"] == pytest.approx(len(scores) / total)
        assert found.get(f"val-aux/{source}/reward_of_judged") == (pytest.approx(np.mean(scores)) if scores else None)


def test_rewards_that_say_nothing_of_judging_are_taken_as_they_are() -> None:
    infos = {"reward": [1.0, 0.0]}
    assert judged_rewards(infos) == [1.0, 0.0]
    assert validation_metrics(["a", "a"], infos) == {}


def test_a_row_that_says_nothing_among_rows_that_do_is_judged() -> None:
    assert judged_rewards({"reward": [1.0, 0.0], "judged": [None, False]}) == [1.0, None]
