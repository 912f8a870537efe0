"""The interface of every automated metric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Maps N texts to unit vectors, `[N, D]` float32."""

# What metrics rest on.
ENCODER, TEXT, ENGLISH, ENDING = "sentence encoder", "words of the answer", "English word counts", "end token"
REFERENCES = "word order of packaged references"


class Score(NamedTuple):
    """A value in [0, 1], higher is better, or null with a reason."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class ScoredText:
    """What a metric sees of one answer.

    Attributes:
        prompt: The prompt's last user turn.
        response: The answer.
        stopped: Whether the model ended the answer itself, before the length limit.
        reference: A good answer, if the prompt has one.
    """

    prompt: str
    response: str
    stopped: bool
    reference: str | None = None


@dataclass(frozen=True)
class Metric:
    """An automated metric.

    Attributes:
        name: Name in settings, columns and reports.
        version: To be raised whenever the same answer may get another value, so that scores in the log are not mixed.
        description: One line for the report.
        basis: What it rests on, for the report: judges with the same basis share their mistakes.
        nullable: Whether it may have no value for an answer; such a metric makes no labels.
        score: Gives one `Score` per answer, in order. Metrics that compare meanings call `embed`.
    """

    name: str
    version: int
    description: str
    score: Callable[[Sequence[ScoredText], Embed], list[Score]]
    basis: str = TEXT
    nullable: bool = False
