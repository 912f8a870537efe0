import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflow.evaluation.win_rates import WinRate, outcome, win_rate

Prompts = list[tuple[float | None, float | None, int, int]]
_SCORES = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
_PROMPTS = st.lists(st.tuples(_SCORES, _SCORES, st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=20)


def judged(prompts: Prompts, resamples: int = 40) -> WinRate | None:
    tuned, base, tuned_lengths, base_lengths = zip(*prompts, strict=True)
    return win_rate(tuned, base, tuned_lengths, base_lengths, seed=1, resamples=resamples)


def test_counts_and_rate_by_hand() -> None:
    # win, tie within 1e-6, loss, win, one score missing: (1 + 0.5 + 0 + 1) / 4
    win = win_rate([0.9, 0.5, 0.1, 0.8, None], [0.1, 0.5 + 5e-7, 0.2, 0.3, 0.3], [5] * 5, [5] * 5, seed=0)
    assert win is not None
    assert (win.wins, win.ties, win.losses) == (2, 1, 1)
    assert win.win_rate == 0.625


def test_interval_matches_the_binomial_standard_error() -> None:
    win = win_rate([1.0] * 240 + [0.0] * 160, [0.5] * 400, [5] * 400, [5] * 400, seed=0)
    assert win is not None
    half = 1.96 * math.sqrt(0.6 * 0.4 / 400)  # 0.048
    assert win.low == pytest.approx(0.6 - half, abs=0.01)
    assert win.high == pytest.approx(0.6 + half, abs=0.01)


def test_equal_lengths_leave_the_win_rate_as_it_is() -> None:
    win = win_rate([1.0] * 30 + [0.0] * 10, [0.5] * 40, [7] * 40, [9] * 40, seed=0)
    assert win is not None
    assert win.length_controlled == pytest.approx(0.75, abs=5e-4)


def test_one_regression_by_hand() -> None:
    # Differences -1 and 1, standard deviation 1, feature t = tanh(1); at +1 three wins of four, at -1 one of four.
    # By symmetry the intercept is 0, whatever the ridge: at equal length nobody is ahead.
    win = win_rate([1, 1, 1, 0, 1, 0, 0, 0], [0.5] * 8, [2] * 4 + [0] * 4, [1] * 8, seed=0)
    assert win is not None
    assert win.win_rate == 0.5
    assert win.length_controlled == pytest.approx(0.5, abs=1e-9)


def test_regression_solves_the_ridge_equations() -> None:
    tuned = [1.0, 1.0, 0.0, 1.0, 0.5]
    differences = np.array([4.0, 1.0, -2.0, -1.0, 3.0])
    win = win_rate(tuned, [0.5] * 5, list(differences.astype(int) + 10), [10] * 5, seed=0)
    assert win is not None
    intercept = math.log(win.length_controlled / (1 - win.length_controlled))
    feature = np.tanh(differences / differences.std())
    outcomes = np.array([1.0, 1.0, 0.0, 1.0, 0.5])
    # Given the intercept, bisect for the slope that solves the second equation, then the first must hold too.
    low, high = -50.0, 50.0
    for _ in range(200):
        slope = (low + high) / 2
        expected = 1 / (1 + np.exp(-intercept - slope * feature))
        low, high = (slope, high) if feature @ (outcomes - expected) > 0.1 * slope else (low, slope)
    assert (outcomes - expected).sum() == pytest.approx(0.01 * intercept, abs=1e-6)


def test_a_pure_length_effect_vanishes_at_equal_length() -> None:
    differences = [*range(1, 51), *range(-50, 0)]
    win = win_rate(
        [float(d > 0) for d in differences], [0.5] * 100, [100 + d for d in differences], [100] * 100, seed=0
    )
    assert win is not None
    assert win.length_controlled == pytest.approx(0.5, abs=0.01)
    assert win.length_controlled_low < 0.5 < win.length_controlled_high


def test_a_length_effect_with_mostly_longer_answers_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    differences = np.where(rng.random(600) < 0.8, 1, -1) * rng.integers(1, 60, 600)
    won = rng.random(600) < 1 / (1 + np.exp(-differences / 30))
    win = win_rate([float(w) for w in won], [0.5] * 600, [int(100 + d) for d in differences], [100] * 600, seed=0)
    assert win is not None
    assert win.low > 0.55
    assert win.length_controlled_low < 0.5 < win.length_controlled_high


def test_a_quality_effect_stays_at_equal_length() -> None:
    rng = np.random.default_rng(0)
    differences = rng.integers(-60, 60, 400)
    won = rng.random(400) < 0.75
    win = win_rate([float(w) for w in won], [0.5] * 400, [int(100 + d) for d in differences], [100] * 400, seed=0)
    assert win is not None
    assert win.length_controlled == pytest.approx(0.75, abs=0.05)
    assert win.length_controlled_low > 0.65


def test_winning_everything_stays_finite_and_keeps_an_interval() -> None:
    win = win_rate([1.0] * 128, [0.0] * 128, list(range(128)), [64] * 128, seed=0)
    assert win is not None
    assert win.win_rate == 1.0
    assert win.length_controlled > 0.999
    assert (win.low, win.high) == pytest.approx((0.025 ** (1 / 128), 1.0))


def test_three_wins_of_three_prove_nothing() -> None:
    win = win_rate([1.0] * 3, [0.0] * 3, [5] * 3, [5] * 3, seed=0)
    assert win is not None
    assert win.low < 0.5


def test_no_scored_prompt_gives_none() -> None:
    assert win_rate([None, 1.0], [1.0, None], [1, 1], [1, 1], seed=0) is None
    assert win_rate([], [], [], [], seed=0) is None


def test_not_a_number_counts_as_missing() -> None:
    assert outcome(math.nan, 1.0) is None
    assert outcome(1.0, math.inf) is None


def test_sequences_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter|longer"):
        win_rate([1.0], [1.0, 2.0], [1], [1], seed=0)


@settings(max_examples=60, deadline=None)
@given(_PROMPTS)
def test_swapping_the_models_mirrors_every_number(prompts: Prompts) -> None:
    win = judged(prompts)
    swapped = judged([(base, tuned, b_len, t_len) for tuned, base, t_len, b_len in prompts])
    if win is None or swapped is None:
        assert win is swapped
        return
    assert (swapped.wins, swapped.ties, swapped.losses) == (win.losses, win.ties, win.wins)
    assert swapped.win_rate == pytest.approx(1 - win.win_rate)
    assert (swapped.low, swapped.high) == pytest.approx((1 - win.high, 1 - win.low))
    assert swapped.length_controlled == pytest.approx(1 - win.length_controlled, abs=1e-6)
    assert swapped.length_controlled_low == pytest.approx(1 - win.length_controlled_high, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(_PROMPTS)
def test_rates_are_shares_and_intervals_are_in_order(prompts: Prompts) -> None:
    win = judged(prompts)
    if win is not None:
        assert 0 <= win.low <= win.high <= 1
        assert win.low - 1e-12 <= win.win_rate <= win.high + 1e-12
        assert 0 < win.length_controlled < 1
        assert 0 <= win.length_controlled_low <= win.length_controlled_high <= 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 200), st.integers(0, 200)), min_size=1, max_size=20))
def test_all_ties_give_one_half(prompts: list[tuple[float, int, int]]) -> None:
    win = judged([(score, score, t_len, b_len) for score, t_len, b_len in prompts])
    assert win is not None
    assert win.win_rate == 0.5
    assert win.length_controlled == pytest.approx(0.5)
    assert win.low < 0.5 < win.high
