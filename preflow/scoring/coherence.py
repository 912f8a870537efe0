"""Do neighbouring sentences belong together?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from preflow.scoring.metric import ENCODER, Embed, Metric, Score, ScoredText
from preflow.scoring.words import sentences


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """Mean cosine of neighbouring sentences (negative ones count as 0); null for fewer than two sentences."""
    parts = [sentences(text.response) for text in texts]
    if not any(len(own) > 1 for own in parts):
        return [_TOO_SHORT for _ in texts]
    vectors = embed([part for own in parts for part in own])
    bounds = np.cumsum([len(own) for own in parts])[:-1]
    return [_coherence(own) for own in np.split(vectors, bounds)]


def _coherence(vectors: NDArray[np.float32]) -> Score:
    if len(vectors) < 2:
        return _TOO_SHORT
    return Score(float(np.clip((vectors[:-1] * vectors[1:]).sum(1), 0.0, 1.0).mean()))


_TOO_SHORT = Score(None, "fewer than two sentences")
METRIC = Metric("coherence", 3, "meaning shared by neighbouring sentences", score, ENCODER, nullable=True)
