"""Is the answer long enough to say something, and not too long to read?"""

from collections.abc import Sequence

from preflow.scoring.metric import Embed, Metric, Score, ScoredText
from preflow.scoring.words import words

_SHORTEST, _LONGEST, _TOO_LONG = 12, 80, 240


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """1 from 12 to 80 words; below, it falls linearly to 0 at 0 words, above, linearly to 0 at 240 words."""
    return [Score(fit(len(words(text.response)))) for text in texts]


def fit(count: int) -> float:
    """The score of an answer of `count` words."""
    return max(0.0, min(1.0, count / _SHORTEST, (_TOO_LONG - count) / (_TOO_LONG - _LONGEST)))


METRIC = Metric("length_fit", 2, "1 from 12 to 80 words, less outside", score)
