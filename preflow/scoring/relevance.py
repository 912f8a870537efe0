"""Is the answer about the prompt, in words of its own?"""

from collections.abc import Sequence

import numpy as np

from preflow.scoring.metric import ENCODER, Embed, Metric, Score, ScoredText
from preflow.scoring.words import ngrams, words

_COPY_NGRAM = 3


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """Cosine of prompt and response (0 if negative), times the share of the response that is not copied.

    A response that repeats its prompt has a cosine near 1 and would win every comparison, so three-word runs copied
    from it do not count.
    """
    prompts = embed([text.prompt for text in texts])
    responses = embed([text.response for text in texts])
    cosines = np.clip((prompts * responses).sum(1), 0.0, 1.0)
    return [Score(float(cosine) * (1 - copied_share(text))) for cosine, text in zip(cosines, texts, strict=True)]


def copied_share(text: ScoredText) -> float:
    """The share of the response's three-word runs that occur in the prompt; 0 if it has none."""
    runs = ngrams(words(text.response), _COPY_NGRAM)
    known = set(ngrams(words(text.prompt), _COPY_NGRAM))
    return sum(run in known for run in runs) / len(runs) if runs else 0.0


METRIC = Metric(
    "relevance", 1, "meaning shared by prompt and answer, less what is copied from the prompt", score, ENCODER
)
