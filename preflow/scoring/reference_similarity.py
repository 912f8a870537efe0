"""Is the answer close to a good one?"""

from collections.abc import Sequence

import numpy as np

from preflow.scoring.metric import ENCODER, Embed, Metric, Score, ScoredText


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """Cosine of response and reference (0 if negative); null if the prompt has no reference."""
    known = [text for text in texts if text.reference is not None]
    if not known:
        return [Score(None, "no reference") for _ in texts]
    cosines = (embed([text.response for text in known]) * embed([text.reference or "" for text in known])).sum(1)
    values = iter(np.clip(cosines, 0.0, 1.0))
    return [Score(None, "no reference") if text.reference is None else Score(float(next(values))) for text in texts]


METRIC = Metric(
    "reference_similarity", 2, "meaning shared by the answer and a reference answer", score, ENCODER, nullable=True
)
