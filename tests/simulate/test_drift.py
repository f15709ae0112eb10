"""The drift model in closed form and against samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pangu_verl.simulate.drift import (
    Drift,
    effective_sample_share,
    effective_share_by_bound,
    mean_absolute_log_ratio,
)

LAGS = st.dictionaries(st.integers(0, 8), st.integers(1, 10_000), min_size=1)


def test_a_policy_that_does_not_move_leaves_every_sample_whole() -> None:
    assert effective_sample_share({0: 10, 5: 10}, 0.0) == 1.0
    assert mean_absolute_log_ratio({0: 10, 5: 10}, 0.0) == 0.0


@pytest.mark.parametrize("drift", [0.1, 0.4])
def test_the_model_is_what_samples_of_it_show(drift: float) -> None:
    draws = np.random.default_rng(0)
    tokens = {0: 200_000, 1: 300_000, 3: 100_000}
    log_ratios = np.concatenate(
        [draws.normal(-((drift * lag) ** 2) / 2, drift * lag, count) for lag, count in tokens.items()]
    )
    weights = np.exp(log_ratios)
    assert weights.mean() == pytest.approx(1.0, abs=0.01)
    assert effective_sample_share(tokens, drift) == pytest.approx(
        weights.sum() ** 2 / (len(weights) * (weights**2).sum()), rel=0.03
    )
    assert mean_absolute_log_ratio(tokens, drift) == pytest.approx(np.abs(log_ratios).mean(), rel=0.01)


@given(tokens=LAGS, drift=st.floats(0.0, 2.0))
def test_the_share_by_bound_ends_at_that_of_the_whole_batch(tokens: dict[int, int], drift: float) -> None:
    shares = effective_share_by_bound(tokens, drift)
    assert list(shares) == list(range(max(tokens) + 1))
    assert shares[max(tokens)] == pytest.approx(effective_sample_share(tokens, drift))
    assert all(0.0 <= share <= 1.0 + 1e-9 for share in shares.values())


def test_without_drift_a_larger_bound_is_never_worth_less() -> None:
    shares = effective_share_by_bound({0: 5, 1: 3, 2: 2}, 0.0)
    assert shares == pytest.approx({0: 0.5, 1: 0.8, 2: 1.0})


def test_levels_are_linear_between_and_level_outside() -> None:
    drift = Drift(((0.25, 0.2), (0.75, 0.4)))
    assert [drift.at(share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx([0.2, 0.2, 0.3, 0.4, 0.4])
