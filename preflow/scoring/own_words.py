"""Does the answer say something in words of its own?"""

from collections.abc import Sequence

from preflow.scoring.copying import USUAL, copied_share, own_share
from preflow.scoring.metric import TEXT, Embed, Metric, Score, ScoredText


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """`own_share`: 1 for an answer that copies no more of its content words than good answers do, 0 for a copy.

    Some prompts, such as those that ask for a summary, want their words back. An answer may therefore copy as large a
    share as the prompt's reference does.
    """
    return [Score(own_share(text.prompt, text.response, _usual(text))) for text in texts]


def _usual(text: ScoredText) -> float:
    return USUAL if text.reference is None else max(USUAL, copied_share(text.prompt, text.reference))


METRIC = Metric("own_words", 2, "content words that are not the prompt's (1: as many as in good answers)", score, TEXT)
