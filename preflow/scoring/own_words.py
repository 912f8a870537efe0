"""Does the answer say something in words of its own?"""

from collections.abc import Sequence

from preflow.scoring.copying import own_share
from preflow.scoring.metric import TEXT, Embed, Metric, Score, ScoredText


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """`own_share`: 1 for an answer that copies no more of its content words than good answers do, 0 for a copy."""
    return [Score(own_share(text.prompt, text.response)) for text in texts]


METRIC = Metric("own_words", 1, "content words that are not the prompt's (1: as many as in good answers)", score, TEXT)
