"""The paired interval: against published values, another way to compute it, scipy, and its own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, multinomial, norm  # type: ignore[import-untyped]  # scipy ships no types

from pangu_verl.report.statistics import paired_gain, share_interval, tango_interval


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int]:
    """Rows fixed, rows broken, all rows."""
    pairs = draw(st.integers(1, 400))
    fixed = draw(st.integers(0, pairs))
    return fixed, draw(st.integers(0, pairs - fixed)), pairs


def test_agrees_with_the_published_example_of_airway_reactivity() -> None:
    # Fagerland, Lydersen, Laake 2014: table 1, 1, 7, 12
    low, high = tango_interval(fixed=7, broken=1, pairs=21)
    assert (round(low, 3), round(high, 3)) == (0.026, 0.517)


def test_agrees_with_the_closed_form() -> None:
    """Both bounds are roots of one quartic: the squared score equation with the nuisance share eliminated."""
    for fixed, broken, pairs in [(40, 20, 160), (7, 1, 21), (3, 30, 64), (180, 12, 512)]:
        z2, n, d, s = float(norm.ppf(0.975)) ** 2, pairs, fixed - broken, fixed + broken
        roots = np.roots(
            [
                n**2 * (n / z2 + 1) ** 2,
                -n * d * (n / z2 + 1) * (4 * n / z2 + 1),
                2 * n * d**2 * (3 * n / z2 + 2) / z2 - n**2 * (s / z2 + 1),
                n * d * (2 * s / z2 + 1) - d**3 * (4 * n / z2 + 1) / z2,
                d**2 * (d**2 / z2 - s) / z2,
            ]
        )
        real = sorted(root.real for root in roots if abs(root.imag) < 1e-9)
        low, high = tango_interval(fixed, broken, pairs)
        assert any(math.isclose(low, root, abs_tol=1e-7) for root in real)
        assert any(math.isclose(high, root, abs_tol=1e-7) for root in real)


def test_without_any_change_the_bound_is_that_of_no_event_seen() -> None:
    z2 = float(norm.ppf(0.975)) ** 2
    low, high = tango_interval(0, 0, 50)
    assert high == pytest.approx(z2 / (50 + z2), abs=1e-9)
    assert low == -high


def test_all_fixed_and_all_broken_reach_the_ends() -> None:
    assert tango_interval(9, 0, 9)[1] == 1.0
    low, high = tango_interval(0, 9, 9)
    assert low == -1.0
    assert -1.0 < high < 0.0


@given(tables())
def test_interval_holds_the_estimate_and_stays_in_range(table: tuple[int, int, int]) -> None:
    fixed, broken, pairs = table
    low, high = tango_interval(fixed, broken, pairs)
    assert -1.0 <= low <= (fixed - broken) / pairs <= high <= 1.0


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_swapping_before_and_after_changes_signs_alone(outcomes: list[tuple[bool, bool]]) -> None:
    before = {str(index): [old] for index, (old, _) in enumerate(outcomes)}
    after = {str(index): [new] for index, (_, new) in enumerate(outcomes)}
    forth, back = paired_gain(before, after), paired_gain(after, before)
    assert forth is not None and back is not None
    assert (forth.gain, forth.low, forth.high) == (-back.gain, -back.high, -back.low)


@given(tables())
def test_interval_leaves_out_zero_exactly_if_mcnemar_rejects(table: tuple[int, int, int]) -> None:
    fixed, broken, pairs = table
    statistic = (fixed - broken) ** 2 / (fixed + broken) if fixed + broken else 0.0
    threshold = float(chi2.ppf(0.95, 1))
    if abs(statistic - threshold) > 1e-6:
        low, high = tango_interval(fixed, broken, pairs)
        assert (not low <= 0.0 <= high) == (statistic > threshold)


@pytest.mark.parametrize("shares", [(0.3, 0.05), (0.1, 0.1), (0.02, 0.02), (0.5, 0.3), (0.05, 0.4)])
def test_covers_the_truth_about_95_times_in_100(shares: tuple[float, float]) -> None:
    """Exact: every table of 30 rows, weighted by its probability."""
    pairs, covered = 30, 0.0
    cells = [*shares, 1 - sum(shares)]
    for fixed in range(pairs + 1):
        for broken in range(pairs + 1 - fixed):
            low, high = tango_interval(fixed, broken, pairs)
            if low <= shares[0] - shares[1] <= high:
                covered += float(multinomial.pmf([fixed, broken, pairs - fixed - broken], pairs, cells))
    assert 0.93 <= covered <= 0.999


def test_repeated_prompt_counts_once_with_its_answers_averaged() -> None:
    gain = paired_gain({"a": [True, False], "b": [False]}, {"a": [True, True], "b": [True]})
    assert gain is not None
    assert (gain.pairs, gain.before, gain.after, gain.gain) == (2, 0.25, 1.0, 0.75)
    assert (gain.fixed, gain.broken) == (1.5, 0.0)
    assert gain.low <= gain.gain <= gain.high


@given(
    st.dictionaries(
        st.integers(0, 30), st.tuples(*[st.lists(st.booleans(), min_size=1, max_size=4)] * 2), min_size=1, max_size=30
    )
)
def test_any_number_of_answers_per_prompt_gives_an_interval(found: dict[int, tuple[list[bool], list[bool]]]) -> None:
    gain = paired_gain(
        {str(key): old for key, (old, _) in found.items()}, {str(key): new for key, (_, new) in found.items()}
    )
    assert gain is not None
    assert -1.0 <= gain.low <= gain.gain + 1e-12
    assert gain.gain - 1e-12 <= gain.high <= 1.0


def test_prompts_of_one_side_alone_are_left_out() -> None:
    gain = paired_gain({"a": [True], "b": [False]}, {"b": [True], "c": [False]})
    assert gain is not None
    assert (gain.pairs, gain.gain) == (1, 1.0)
    assert paired_gain({"a": [True]}, {"b": [True]}) is None


@pytest.mark.parametrize("table", [(1, 0, 0), (-1, 0, 5), (4, 3, 6)])
def test_impossible_table_is_refused(table: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="expected 0 <= fixed"):
        tango_interval(*table)


def test_single_share_has_wilsons_interval() -> None:
    low, high = share_interval(0, 10)
    assert low == 0.0
    assert high == pytest.approx(0.2775, abs=1e-4)
