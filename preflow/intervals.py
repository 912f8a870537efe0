"""95 % intervals by the percentile bootstrap."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_TAIL = 0.025


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


def bootstrap_interval(values: Sequence[float], seed: int, *, groups: Sequence[str] = ()) -> Interval:
    """Percentile bootstrap interval of the mean of `values`, of which there is at least one.

    Args:
        values: Numbers to take the mean of.
        seed: Seed of the bootstrap.
        groups: The group of each value, such as its prompt, if values depend on each other: whole groups are then drawn
            again. By default each value is a group of its own.
    """
    numbers = np.unique(groups, return_inverse=True)[1] if groups else np.arange(len(values))
    sums, sizes = np.bincount(numbers, values), np.bincount(numbers)
    counts = resample_counts(len(sums), seed=seed)
    return percentile_interval(counts @ sums / (counts @ sizes))


def unseen_interval(outcome: float, total: int) -> Interval:
    """The interval of a mean in [0, 1] when all `total` values were equal to `outcome`.

    Resampling equal values always gives the same mean, an interval of width zero, however few they are. Instead: a
    share of other outcomes up to 1 - 0.025**(1/total) would still go unseen that often (Clopper and Pearson 1934, the
    case of no event), and those outcomes might all be 0 or all be 1.
    """
    unseen = 1.0 - _TAIL ** (1.0 / total)
    return Interval(outcome * (1.0 - unseen), outcome * (1.0 - unseen) + unseen)
