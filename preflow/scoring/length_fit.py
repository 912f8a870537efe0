"""Is the answer long enough to say something, and not longer than one wants to read?"""

from collections.abc import Sequence

from preflow.scoring.metric import Embed, Metric, Score, ScoredText
from preflow.scoring.words import words

_SHORTEST, _LONGEST, _TOO_LONG = 12, 80, 240


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """1 between 12 and 80 words, rising evenly from 0 words before and falling evenly to 0 at 240 words after."""
    return [Score(fit(len(words(text.response)))) for text in texts]


def fit(count: int) -> float:
    """The score of an answer of `count` words."""
    return max(0.0, min(1.0, count / _SHORTEST, (_TOO_LONG - count) / (_TOO_LONG - _LONGEST)))


METRIC = Metric("length_fit", 1, "between 12 and 80 words, less outside", score)
