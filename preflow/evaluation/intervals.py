"""95 % intervals: the percentile bootstrap of a mean, and Wilson's interval of a share."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_TAIL = 0.025
_Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


def resample_counts(size: int, *, seed: int, resamples: int = 1000) -> NDArray[np.float64]:
    """How often each of `size` items is drawn in each bootstrap resample.

    Returns:
        Counts of shape (resamples, size); every row sums to `size`.
    """
    drawn = np.random.default_rng(seed).multinomial(size, np.full(size, 1.0 / size), size=resamples)
    return drawn.astype(np.float64)


def percentile_interval(estimates: NDArray[np.float64]) -> Interval:
    """The middle 95 % of the estimates of all resamples, shape (resamples,)."""
    low, high = np.quantile(estimates, [_TAIL, 1.0 - _TAIL])
    return Interval(float(low), float(high))


def bootstrap_interval(values: Sequence[float], seed: int, *, resamples: int = 1000) -> Interval | None:
    """Percentile bootstrap interval of the mean of `values`; None when there are none.

    The values are what is drawn again, so they must be independent: one value per prompt, not per token.
    """
    if not values:
        return None
    counts = resample_counts(len(values), seed=seed, resamples=resamples)
    return percentile_interval(counts @ np.asarray(values, dtype=np.float64) / len(values))


def accuracy_interval(correct: int, total: int) -> Interval | None:
    """Wilson's score interval of the share `correct / total` (Wilson 1927); None when `total` is 0.

    Unlike the bootstrap it keeps a width when everything was right or everything was wrong.

    Raises:
        ValueError: `correct` is not between 0 and `total`.
    """
    if not 0 <= correct <= total:
        raise ValueError(f"correct must be between 0 and total, got {correct} of {total}")
    if total == 0:
        return None
    share, spread = correct / total, _Z**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def unseen_interval(outcome: float, total: int) -> Interval:
    """The interval of a mean in [0, 1] when all `total` values were equal to `outcome`.

    Resampling equal values always gives the same mean, an interval of width zero, however few they are. Instead: a
    share of other outcomes up to 1 - 0.025**(1/total) would still go unseen that often (Clopper and Pearson 1934, the
    case of no event), and those outcomes might all be 0 or all be 1.
    """
    unseen = 1.0 - _TAIL ** (1.0 / total)
    return Interval(outcome * (1.0 - unseen), outcome * (1.0 - unseen) + unseen)
