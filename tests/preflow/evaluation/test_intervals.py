import numpy as np
import pytest

from preflow.evaluation.intervals import accuracy_interval, bootstrap_interval, resample_counts, unseen_interval


def test_every_resample_draws_as_many_items_as_there_are() -> None:
    counts = resample_counts(7, seed=3, resamples=20)
    assert counts.shape == (20, 7)
    assert (counts.sum(axis=1) == 7).all()


def test_bootstrap_interval_of_a_mean_matches_its_standard_error() -> None:
    values = [0.0, 1.0] * 200
    interval = bootstrap_interval(values, 0)
    assert interval is not None
    half = 1.96 * 0.5 / 400**0.5  # 0.049
    assert interval.low == pytest.approx(0.5 - half, abs=0.008)
    assert interval.high == pytest.approx(0.5 + half, abs=0.008)


def test_bootstrap_interval_depends_on_the_seed_alone() -> None:
    values = list(np.linspace(0, 1, 30))
    assert bootstrap_interval(values, 5) == bootstrap_interval(values, 5)
    assert bootstrap_interval(values, 5) != bootstrap_interval(values, 6)


def test_bootstrap_interval_of_nothing_is_none() -> None:
    assert bootstrap_interval([], 0) is None


def test_wilson_interval_by_hand() -> None:
    # 8 of 10: centre (0.8 + 1.9207/10) / (1 + 3.8415/10) = 0.71674, half 0.22659.
    interval = accuracy_interval(8, 10)
    assert interval is not None
    assert interval.low == pytest.approx(0.49016, abs=1e-4)
    assert interval.high == pytest.approx(0.94332, abs=1e-4)


def test_wilson_interval_keeps_a_width_when_all_are_right() -> None:
    interval = accuracy_interval(10, 10)
    assert interval is not None
    assert interval.low == pytest.approx(0.72247, abs=1e-4)
    assert interval.high == pytest.approx(1.0)


def test_wilson_interval_of_nothing_is_none_and_of_nonsense_an_error() -> None:
    assert accuracy_interval(0, 0) is None
    with pytest.raises(ValueError, match="between 0 and total"):
        accuracy_interval(3, 2)


@pytest.mark.parametrize(
    ("outcome", "low", "high"),
    [(1.0, 0.69150, 1.0), (0.0, 0.0, 0.30850), (0.5, 0.34575, 0.65425)],
)
def test_unseen_outcomes_after_ten_equal_ones(outcome: float, low: float, high: float) -> None:
    # 0.025 ** (1 / 10) = 0.69150
    assert unseen_interval(outcome, 10) == pytest.approx((low, high), abs=1e-5)
