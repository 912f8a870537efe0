import numpy as np
import pytest

from preflow.intervals import bootstrap_interval, resample_counts, unseen_interval


def test_every_resample_draws_as_many_items_as_there_are() -> None:
    counts = resample_counts(7, seed=3, resamples=20)
    assert counts.shape == (20, 7)
    assert (counts.sum(axis=1) == 7).all()


def test_bootstrap_interval_of_a_mean_matches_its_standard_error() -> None:
    values = [0.0, 1.0] * 200
    interval = bootstrap_interval(values, 0)
    half = 1.96 * 0.5 / 400**0.5  # 0.049
    assert interval.low == pytest.approx(0.5 - half, abs=0.008)
    assert interval.high == pytest.approx(0.5 + half, abs=0.008)


def test_bootstrap_interval_depends_on_the_seed_alone() -> None:
    values = list(np.linspace(0, 1, 30))
    assert bootstrap_interval(values, 5) == bootstrap_interval(values, 5)
    assert bootstrap_interval(values, 5) != bootstrap_interval(values, 6)


def test_groups_are_drawn_as_a_whole() -> None:
    # Two groups, a of mean 0 (three values) and b of mean 1: a quarter of the resamples hold only a, a quarter only b.
    assert bootstrap_interval([0.0, 0.0, 0.0, 1.0], 0, groups=["a", "a", "a", "b"]) == (0.0, 1.0)
    values = list(np.linspace(0, 1, 30))
    assert bootstrap_interval(values, 5, groups=[f"{number:02}" for number in range(30)]) == bootstrap_interval(
        values, 5
    )


@pytest.mark.parametrize(
    ("outcome", "low", "high"),
    [(1.0, 0.69150, 1.0), (0.0, 0.0, 0.30850), (0.5, 0.34575, 0.65425)],
)
def test_unseen_outcomes_after_ten_equal_ones(outcome: float, low: float, high: float) -> None:
    # 0.025 ** (1 / 10) = 0.69150
    assert unseen_interval(outcome, 10) == pytest.approx((low, high), abs=1e-5)
