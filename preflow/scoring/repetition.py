"""Does the answer go round in circles?"""

from collections.abc import Sequence

from preflow.scoring.metric import Embed, Metric, Score, ScoredText
from preflow.scoring.words import distinct_n, words


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """The share of distinct three-word runs among all, 1 for an answer too short to have two."""
    return [Score(distinct_share(text.response)) for text in texts]


def distinct_share(response: str) -> float:
    """Distinct three-word runs over all three-word runs, in (0, 1]; 1 if there are none."""
    share = distinct_n([words(response)], 3)
    return 1.0 if share is None else share


METRIC = Metric("repetition", 2, "distinct three-word runs as a share of all (1: no repetition)", score)
