"""Did the answer come to an end?"""

from collections.abc import Sequence

from preflow.scoring.metric import ENDING, Embed, Metric, Score, ScoredText


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """1 where the model ended a non-empty answer by itself, 0 where the length limit cut it off."""
    return [Score(float(text.stopped and bool(text.response.strip()))) for text in texts]


METRIC = Metric("ended_properly", 1, "the model ended the answer by itself, before the length limit", score, ENDING)
