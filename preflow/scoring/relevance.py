"""Is the answer about the prompt, in words of its own?"""

from collections.abc import Sequence

import numpy as np

from preflow.scoring.copying import added, own_share
from preflow.scoring.metric import ENCODER, Embed, Metric, Score, ScoredText

_NEW = 0.6  # weight of what the answer adds
_GOOD = 0.4  # below the median of packaged references, 0.46


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """`tanh(cosine(prompt, answer)^0.4 * cosine(prompt, added)^0.6 * sqrt(own_share) / 0.4)`, no cosine below 0.

    Nothing is as close to a prompt as the prompt itself. So most of the metric is what the answer still means without
    the prompt's words (`added`), and an answer that consists of those words loses the rest too (`own_share`). Good
    answers share about half of a prompt's meaning, and a list of synonyms shares more, so the scale flattens there.
    """
    prompts = [text.prompt for text in texts]
    answers = [text.response for text in texts]
    additions = [added(text.prompt, text.response) for text in texts]
    vectors = embed([*prompts, *answers, *additions]).reshape(3, len(texts), -1)
    whole, new = np.clip((vectors[0] * vectors[1:]).sum(2), 0.0, 1.0)
    own = np.array([own_share(text.prompt, text.response) for text in texts])
    shared = whole ** (1 - _NEW) * new**_NEW * np.sqrt(own)
    return [Score(float(value)) for value in np.tanh(shared / _GOOD)]


METRIC = Metric("relevance", 3, "meaning shared by prompt and answer, beyond words of the prompt", score, ENCODER)
