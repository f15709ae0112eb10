"""Controllers: each rule in closed form, patience before every change, and limits whatever is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pangu_verl.conformity import shortcoming
from pangu_verl.errors import WrongUse
from pangu_verl.scheduler.controllers import Adaptive
from pangu_verl.scheduler.readings import Decision, Reading
from pangu_verl.types import BoundController

#: Bounds 1 to 8 versions; with batches of 8 groups windows of 12 to 72, by steps of 2.
NOW = Decision(3, 24)


def reading(
    trainer_idle: float = 0.0,
    rollout_idle: float = 0.0,
    *,
    effective: float | None = None,
    log_ratio: float | None = None,
    by_bound: Mapping[int, float] | None = None,
    batch_groups: int = 8,
) -> Reading:
    return Reading(
        batch_groups=batch_groups,
        trainer_idle_share=trainer_idle,
        rollout_idle_share=rollout_idle,
        effective_sample_share=effective,
        mean_absolute_log_ratio=log_ratio,
        effective_share_by_bound=by_bound or {},
    )


SHORT = reading(0.3, 0.3, effective=0.9)
STALE = reading(effective=0.2)


def decided(controller: BoundController, readings: Sequence[Reading], now: Decision = NOW) -> list[Decision]:
    """What is in force after each reading."""
    decisions = []
    for each in readings:
        now = controller.decide(each, now)
        decisions.append(now)
    return decisions


# --- rules -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        # Drift, and before everything else.
        (reading(effective=0.49), Decision(2, 24)),
        (reading(effective=0.5), NOW),
        (reading(log_ratio=0.51), Decision(2, 24)),
        (reading(log_ratio=0.5), NOW),
        (reading(effective=0.9, log_ratio=0.51), Decision(2, 24)),
        (reading(effective=0.49, log_ratio=0.0), Decision(2, 24)),
        (reading(0.9, 0.9, effective=0.49, by_bound={3: 0.1, 4: 0.9}), Decision(2, 24)),
        # Another bound would have been better by more than 1%: one version towards the best, of equals the smallest.
        (reading(by_bound={3: 0.5, 4: 0.52}), Decision(4, 24)),
        (reading(by_bound={3: 0.5, 4: 0.505}), NOW),
        (reading(by_bound={2: 0.6, 3: 0.5}), Decision(2, 24)),
        (reading(by_bound={3: 0.5, 4: 0.1, 8: 0.9}), Decision(4, 24)),
        (reading(by_bound={5: 0.9, 3: 0.5, 2: 0.9}), Decision(2, 24)),
        (reading(0.9, 0.9, effective=0.9, by_bound={2: 0.6, 3: 0.5}), Decision(2, 24)),
        (reading(by_bound={0: 0.9, 3: 0.5, 9: 0.9}), NOW),
        (reading(by_bound={2: 0.9, 4: 0.9}), NOW),
        # Time is lost, and the drift is known and small: half of the way or less.
        (reading(0.3, 0.3, effective=0.75), Decision(4, 24)),
        (reading(0.3, 0.3, log_ratio=0.25), Decision(4, 24)),
        (reading(0.3, 0.3, effective=0.75, by_bound={3: 0.5, 4: 0.5}), Decision(4, 24)),
        # Both idle, but the bound may not grow.
        (reading(0.3, 0.3, effective=0.74), Decision(3, 26)),
        (reading(0.3, 0.3, effective=0.75, log_ratio=0.26), Decision(3, 26)),
        (reading(0.3, 0.3), Decision(3, 26)),
        # Only rollout is idle; only the trainer is; neither is.
        (reading(0.2, 0.3, effective=0.9), Decision(3, 22)),
        (reading(0.0, 0.3), Decision(3, 22)),
        (reading(0.3, 0.2, effective=0.9), NOW),
        (reading(0.2, 0.2, effective=0.9), NOW),
        (reading(), NOW),
    ],
)
def test_a_reading_moves_bound_or_window_by_its_rule(each: Reading, expected: Decision) -> None:
    assert Adaptive(patience_steps=1).decide(each, NOW) == expected


def test_at_the_largest_bound_the_window_grows_instead() -> None:
    assert Adaptive(patience_steps=1).decide(SHORT, Decision(8, 24)) == Decision(8, 26)


def test_at_the_smallest_bound_drift_moves_nothing() -> None:
    assert Adaptive(patience_steps=1).decide(STALE, Decision(1, 24)) == Decision(1, 24)


@pytest.mark.parametrize(("each", "window"), [(reading(0.3, 0.3), 72), (reading(0.0, 0.3), 12)])
def test_the_window_stays_within_its_limits(each: Reading, window: int) -> None:
    assert decided(Adaptive(patience_steps=1), [each] * 40)[-1] == Decision(3, window)


@pytest.mark.parametrize("now", [Decision(0, 3), Decision(20, 999)])
def test_what_a_run_starts_with_outside_the_limits_stays_until_it_is_wished_otherwise(now: Decision) -> None:
    assert Adaptive(patience_steps=1).decide(reading(), now) == now


@pytest.mark.parametrize("batch_groups", [1, 2, 3])
def test_the_window_of_a_small_batch_moves_by_a_group(batch_groups: int) -> None:
    each = reading(0.3, 0.3, batch_groups=batch_groups)
    assert Adaptive(patience_steps=1).decide(each, Decision(3, 3 * batch_groups)).window_groups == 3 * batch_groups + 1


def test_with_every_sample_asked_for_any_loss_is_too_much() -> None:
    strict = Adaptive(patience_steps=1, least_effective_share=1.0)
    assert strict.decide(reading(effective=1.0), NOW) == NOW
    assert strict.decide(reading(effective=0.999), NOW) == Decision(2, 24)


# --- patience ----------------------------------------------------------------------------------------------------------


def test_a_wish_is_carried_out_when_enough_steps_in_a_row_have_wished_it() -> None:
    bounds = [decision.bound_versions for decision in decided(Adaptive(patience_steps=4), [STALE] * 8)]
    assert bounds == [3, 3, 3, 2, 2, 2, 2, 1]


def test_one_step_that_wishes_something_else_starts_the_count_again() -> None:
    readings = [*[SHORT] * 3, reading(), *[SHORT] * 3, STALE, *[SHORT] * 3]
    assert decided(Adaptive(patience_steps=4), readings) == [NOW] * len(readings)


def test_loosening_is_not_followed_by_tightening_when_the_drift_only_doubles() -> None:
    """Between half of the limit and the limit nothing moves the bound."""
    readings = [*[reading(0.5, 0.5, log_ratio=0.25)] * 4, *[reading(0.5, 0.5, log_ratio=0.5)] * 40]
    bounds = {decision.bound_versions for decision in decided(Adaptive(), readings)[3:]}
    assert bounds == {4}


shares = st.floats(0.0, 1.0)
sane = st.builds(
    reading,
    shares,
    shares,
    by_bound=st.dictionaries(st.integers(0, 10), shares, max_size=4),
    effective=st.none() | shares,
    log_ratio=st.none() | st.floats(0.0, 2.0),
)
anything = st.floats() | st.integers(-(10**6), 10**6)
wild = st.builds(
    reading,
    anything,
    anything,
    by_bound=st.dictionaries(st.integers(0, 10), anything, max_size=4),
    effective=st.none() | anything,
    log_ratio=st.none() | anything,
    batch_groups=st.integers(1, 64),
)


@given(first=sane, second=sane, patience_steps=st.integers(2, 6))
def test_readings_that_alternate_between_two_wishes_move_nothing(
    first: Reading, second: Reading, patience_steps: int
) -> None:
    assume(Adaptive(patience_steps=1).decide(first, NOW) != Adaptive(patience_steps=1).decide(second, NOW))
    assert decided(Adaptive(patience_steps=patience_steps), [first, second] * 20) == [NOW] * 40


@given(readings=st.lists(wild, max_size=40), patience_steps=st.integers(1, 5))
def test_nothing_changes_before_its_time_and_then_by_one_step(readings: list[Reading], patience_steps: int) -> None:
    """From within the limits, with batches of one size."""
    same = [reading(each.trainer_idle_share, each.rollout_idle_share, by_bound=each.effective_share_by_bound,
                    effective=each.effective_sample_share, log_ratio=each.mean_absolute_log_ratio)
            for each in readings]  # fmt: skip
    before, last_change = NOW, 0
    for step, after in enumerate(decided(Adaptive(patience_steps=patience_steps), same), start=1):
        if after != before:
            assert step - last_change >= patience_steps
            moved = (abs(after.bound_versions - before.bound_versions), abs(after.window_groups - before.window_groups))
            assert moved in ((1, 0), (0, 2))
            last_change = step
        before = after


@given(readings=st.lists(wild, min_size=1, max_size=40), bound=st.integers(0, 99), window=st.integers(0, 9_999))
def test_every_decision_is_within_the_limits_whatever_is_measured(
    readings: list[Reading], bound: int, window: int
) -> None:
    """A start outside them is left where it is, or moved towards them."""
    decisions = decided(Adaptive(patience_steps=2), readings, Decision(bound, window))
    now = Decision(bound, window)
    for each, decision in zip(readings, decisions, strict=True):
        assert min(1, now.bound_versions) <= decision.bound_versions <= max(8, now.bound_versions)
        assert min(round(1.5 * each.batch_groups), now.window_groups) <= decision.window_groups
        assert decision.window_groups <= max(9 * each.batch_groups, now.window_groups)
        now = decision
        assert isinstance(decision.bound_versions, int) and isinstance(decision.window_groups, int)


# --- drift that nobody knows ---------------------------------------------------------------------------------------------

unknown = st.none() | st.just(math.nan)


@given(
    trainer_idle=anything, rollout_idle=anything, effective=unknown, log_ratio=unknown,
    known=st.none() | st.floats(0.0, 0.2), is_known_first=st.booleans(),
)  # fmt: skip
def test_a_drift_that_is_not_known_never_raises_the_bound(
    trainer_idle: float, rollout_idle: float, effective: float | None, log_ratio: float | None,
    known: float | None, is_known_first: bool,
) -> None:  # fmt: skip
    """Also where one of its two measures is NaN and the other is small."""
    if known is not None and is_known_first:
        effective, log_ratio = 1.0 - known, math.nan
    elif known is not None:
        effective, log_ratio = math.nan, known
    each = reading(trainer_idle, rollout_idle, effective=effective, log_ratio=log_ratio)
    assert Adaptive(patience_steps=1).decide(each, NOW).bound_versions == NOW.bound_versions


@pytest.mark.parametrize("by_bound", [{3: math.nan, 4: 0.9}, {3: 0.5, 4: math.nan}, {4: math.nan, 3: 0.5, 2: math.nan}])
def test_a_worth_that_is_no_number_moves_nothing(by_bound: Mapping[int, float]) -> None:
    assert Adaptive(patience_steps=1).decide(reading(by_bound=by_bound), NOW) == NOW


@pytest.mark.parametrize(("effective", "log_ratio"), [(math.nan, 0.9), (0.1, math.nan), (None, math.inf), (-1.0, None)])
def test_too_much_drift_lowers_the_bound_whatever_the_other_measure_says(
    effective: float | None, log_ratio: float | None
) -> None:
    each = reading(0.5, 0.5, effective=effective, log_ratio=log_ratio)
    assert Adaptive(patience_steps=1).decide(each, NOW).bound_versions == 2


# --- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("controller", [Adaptive()])
def test_each_fits_the_interface(controller: BoundController) -> None:
    assert shortcoming(controller, BoundController) is None


def test_a_configured_controller_remembers_nothing_of_the_other_one() -> None:
    first = Adaptive(patience_steps=4)
    decided(first, [STALE] * 3)
    other = first.with_options({})
    assert other == Adaptive(patience_steps=4)
    assert other.decide(STALE, NOW) == NOW
    assert first.decide(STALE, NOW) == Decision(2, 24)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"least_effective_share": 1.1}, "least_effective_share lies in 0..1, not 1.1"),
        ({"idle_share": -0.1}, "idle_share lies in 0..1, not -0.1"),
        ({"least_gain": 2}, "least_gain lies in 0..1, not 2"),
        ({"least_bound_versions": 9}, "least_bound_versions lies between 0 and most_bound_versions, not 9 with 8"),
        ({"least_bound_versions": -1}, "least_bound_versions lies between 0 and most_bound_versions, not -1 with 8"),
        ({"most_window_batches": 1}, "least_window_batches lies between 1 and most_window_batches, not 1.5 with 1"),
        ({"least_window_batches": 0.5}, "least_window_batches lies between 1 and most_window_batches, not 0.5 with 9.0"),
        ({"most_log_ratio": 0.0}, "not 0.0, 0.25 and 4"),
        ({"window_step_batches": -1.0}, "not 0.5, -1.0 and 4"),
        ({"patience_steps": 0}, "patience_steps at least 1, not 0.5, 0.25 and 0"),
        ({"most_log_ratio": math.nan}, "'most_log_ratio' of 'adaptive' is a finite number (float), not nan"),
        ({"most_window_batches": math.inf}, "'most_window_batches' of 'adaptive' is a finite number (float), not inf"),
        ({"_steps": 3}, "'adaptive' has no option '_steps'"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_work_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(WrongUse) as caught:
        Adaptive().with_options(options)
    assert complaint in str(caught.value)
