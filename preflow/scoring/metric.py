"""The one small interface of every automated metric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to unit vectors, `[N, D]`."""


class Score(NamedTuple):
    """A value in [0, 1], higher is better, or null with the reason why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class ScoredText:
    """What a metric sees of one answer.

    Attributes:
        prompt: The prompt's last user turn.
        response: The answer.
        stopped: Whether the answer ended by itself and not at the length limit.
        reference: A good answer, where the prompt has one.
    """

    prompt: str
    response: str
    stopped: bool
    reference: str | None = None


@dataclass(frozen=True)
class Metric:
    """An automated metric.

    Attributes:
        name: What users type and columns are called.
        version: Raised whenever the same answer may get another value, so that logged scores are not mixed.
        description: One line for the report.
        score: One `Score` an answer, in order. Metrics that compare meanings call `embed`, which remembers texts.
    """

    name: str
    version: int
    description: str
    score: Callable[[Sequence[ScoredText], Embed], list[Score]]
