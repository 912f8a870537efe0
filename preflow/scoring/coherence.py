"""Do neighbouring sentences belong together?"""

from collections.abc import Sequence

import numpy as np

from preflow.scoring.metric import ENCODER, Embed, Metric, Score, ScoredText
from preflow.scoring.words import sentences


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """Mean cosine of neighbouring sentences (negative ones count as 0); null for fewer than two sentences."""
    return [_coherence(sentences(text.response), embed) for text in texts]


def _coherence(parts: list[str], embed: Embed) -> Score:
    if len(parts) < 2:
        return Score(None, "fewer than two sentences")
    vectors = embed(parts)
    return Score(float(np.clip((vectors[:-1] * vectors[1:]).sum(1), 0.0, 1.0).mean()))


METRIC = Metric("coherence", 1, "meaning shared by neighbouring sentences", score, ENCODER, nullable=True)
