"""Win rates of the tuned model against the base model, raw and with the effect of answer length removed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preflow.intervals import percentile_interval, resample_counts, unseen_interval

_TIE = 1e-6
_SLOPE_RIDGE = 0.1
# Without any ridge the intercept runs to infinity when one model wins every prompt. 0.01 keeps it finite and hardly
# moves anything else: 128 wins of 128 give 0.9994. It pulls towards "no difference", so it cannot create a win.
_INTERCEPT_RIDGE = 0.01
_MAX_STEPS = 200
_STEP_TOLERANCE = 1e-9


@dataclass(frozen=True)
class WinRate:
    """How often the tuned model's answer scores higher, over the prompts where both answers have a score.

    `win_rate` counts a tie as half a win. `length_controlled` is the win rate expected if both answers were equally
    long. The bounds are 95 % intervals over prompts.
    """

    win_rate: float
    low: float
    high: float
    length_controlled: float
    length_controlled_low: float
    length_controlled_high: float
    wins: int
    ties: int
    losses: int


def outcome(tuned: float | None, base: float | None) -> float | None:
    """1 when the tuned answer scores higher, 0 when lower, 0.5 within 1e-6 of each other, None without both scores."""
    if tuned is None or base is None or not math.isfinite(tuned) or not math.isfinite(base):
        return None
    if abs(tuned - base) <= _TIE:
        return 0.5
    return 1.0 if tuned > base else 0.0


def win_rate(
    tuned: Sequence[float | None],
    base: Sequence[float | None],
    tuned_lengths: Sequence[int],
    base_lengths: Sequence[int],
    *,
    seed: int,
    resamples: int = 1000,
) -> WinRate | None:
    """Win rate of the tuned model by one judge, with percentile bootstrap intervals over prompts.

    The length-controlled rate follows Length-Controlled AlpacaEval (arXiv:2404.04475): the outcome is regressed on an
    intercept and tanh(length difference / its standard deviation), and the answer is read off at difference 0, which is
    sigmoid(intercept). Its interval refits the regression on the same resamples. It relies on prompts whose lengths
    differ in both directions: if nearly all tuned answers are longer, length and quality cannot be told apart, and the
    ridge on the slope decides, in favour of quality.

    Args:
        tuned: The judge's score of the tuned model's answer, one per prompt; null leaves the prompt out.
        base: The judge's score of the base model's answer, likewise.
        tuned_lengths: Lengths of the tuned answers, in tokens.
        base_lengths: Lengths of the base answers, in tokens.
        seed: Seed of the bootstrap.
        resamples: Number of bootstrap resamples.

    Returns:
        The win rate, or None when no prompt has both scores.

    Raises:
        ValueError: The four sequences differ in length.
    """
    pairs = zip(tuned, base, tuned_lengths, base_lengths, strict=True)
    judged = [(result, t_len - b_len) for t, b, t_len, b_len in pairs if (result := outcome(t, b)) is not None]
    if not judged:
        return None
    outcomes, differences = np.array(judged, dtype=np.float64).T
    lengths = _length_feature(differences)
    total = len(judged)

    counts = resample_counts(total, seed=seed, resamples=resamples)
    rate = float(outcomes.mean())
    controlled = float(_controlled_rates(outcomes, lengths, np.ones((1, total)))[0])
    if (outcomes == outcomes[0]).all():
        raw_interval = controlled_interval = unseen_interval(float(outcomes[0]), total)
    else:
        raw_interval = percentile_interval(counts @ outcomes / total)
        controlled_interval = percentile_interval(_controlled_rates(outcomes, lengths, counts))
    return WinRate(
        win_rate=rate,
        low=raw_interval.low,
        high=raw_interval.high,
        length_controlled=controlled,
        length_controlled_low=controlled_interval.low,
        length_controlled_high=controlled_interval.high,
        wins=int((outcomes == 1.0).sum()),
        ties=int((outcomes == 0.5).sum()),
        losses=int((outcomes == 0.0).sum()),
    )


def _length_feature(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """tanh(difference / standard deviation), in (-1, 1), shape (prompts,); zeros when all differences are equal.

    Equal differences carry no information on the effect of length. The scale stays that of the full sample in every
    resample, so that all refits use the same feature.
    """
    spread = float(differences.std())
    return np.tanh(differences / spread) if spread > 0 else np.zeros_like(differences)


def _controlled_rates(
    outcomes: NDArray[np.float64], lengths: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """sigmoid(intercept) of a weighted ridge logistic regression of outcomes on lengths, for every row of weights.

    Newton's method on all rows at once. The step is damped by log(1 + d) / d with d = sqrt(2) |step|, which makes it
    converge from anywhere for the logistic loss on features of norm at most sqrt(2), also under separation (generalised
    self-concordance: Sun and Tran-Dinh, arXiv:1703.04599). Near the minimum the factor goes to 1: plain Newton.

    Args:
        outcomes: 0, 0.5 or 1, shape (prompts,).
        lengths: The length feature in [-1, 1], shape (prompts,).
        weights: How often each prompt counts, shape (fits, prompts).

    Returns:
        Rates, shape (fits,).
    """
    intercept, slope = np.zeros(len(weights)), np.zeros(len(weights))
    squares = lengths**2
    for _ in range(_MAX_STEPS):
        expected = _sigmoid(intercept[:, None] + slope[:, None] * lengths)
        residual = weights * (outcomes - expected)
        gradient_i = residual.sum(axis=1) - _INTERCEPT_RIDGE * intercept
        gradient_s = residual @ lengths - _SLOPE_RIDGE * slope
        curvature = weights * expected * (1.0 - expected)
        hessian_ii = curvature.sum(axis=1) + _INTERCEPT_RIDGE
        hessian_is = curvature @ lengths
        hessian_ss = curvature @ squares + _SLOPE_RIDGE
        determinant = hessian_ii * hessian_ss - hessian_is**2
        step_i = (hessian_ss * gradient_i - hessian_is * gradient_s) / determinant
        step_s = (hessian_ii * gradient_s - hessian_is * gradient_i) / determinant
        size = np.sqrt(2.0) * np.hypot(step_i, step_s)
        damping = np.where(size > 0, np.log1p(size) / np.where(size > 0, size, 1.0), 1.0)
        intercept, slope = intercept + damping * step_i, slope + damping * step_s
        if size.max() < _STEP_TOLERANCE:
            break
    return _sigmoid(intercept)


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1.0 + np.tanh(0.5 * values))
