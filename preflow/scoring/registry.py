"""The known metrics, the check of their roles, and scoring answers by several of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preflow.errors import PreflowError
from preflow.scoring import (
    coherence,
    ended_properly,
    fluency,
    length_fit,
    own_words,
    reference_similarity,
    relevance,
    repetition,
    word_order,
)
from preflow.scoring.metric import Embed, Metric, Score, ScoredText
from preflow.settings import is_number

METRICS: Mapping[str, Metric] = {
    module.METRIC.name: module.METRIC
    for module in (
        relevance,
        ended_properly,
        fluency,
        repetition,
        length_fit,
        own_words,
        word_order,
        coherence,
        reference_similarity,
    )
}
_ENCODER_BATCH = 64
_REMEMBERED = 10_000  # texts


def check(arguments: Mapping[str, Any]) -> None:
    """Checks the arguments of auto-score: `check_roles`, and at least one metric makes the labels.

    Raises:
        PreflowError: A role is wrong, or there is no label metric.
    """
    check_roles(arguments["label_weights"], arguments["monitors"])
    if not arguments["label_weights"]:
        raise PreflowError("`label_weights`: no metric is named; at least one must make the labels")


def check_roles(label_weights: Mapping[str, float], monitors: Sequence[str]) -> None:
    """Raises if a metric has two roles: one that labels are made from is no independent monitor.

    Raises:
        PreflowError: A metric is unknown or has both roles, one that may be null makes labels, or a weight is not
            positive.
    """
    check_names([*label_weights, *monitors])
    both = sorted(set(label_weights) & set(monitors))
    if both:
        raise PreflowError(f"`monitors`: '{both[0]}' is in `label_weights` too; a monitor must not be trained on")
    for name, weight in label_weights.items():
        if METRICS[name].nullable:
            raise PreflowError(f"`label_weights`: '{name}' has no value for some answers; it can only be a monitor")
        if not is_number(weight) or weight <= 0:
            raise PreflowError(f"`label_weights`: the weight of '{name}' is {weight!r}; it must be a positive number")


def check_names(metrics: Iterable[str]) -> None:
    """Raises if a metric is unknown.

    Raises:
        PreflowError: A metric is unknown; the message lists the known ones.
    """
    for name in metrics:
        if not isinstance(name, str) or name not in METRICS:
            raise PreflowError(f"metric '{name}' is not known; choose from {', '.join(METRICS)}")


def score_texts(texts: Sequence[ScoredText], metrics: Iterable[str], embed: Embed) -> dict[str, list[Score]]:
    """The scores of `texts` by every named metric, in the order of the texts. Each text is embedded once."""
    once = _remembering(embed)
    return {name: METRICS[name].score(texts, once) for name in metrics}


def encoding(encoder: Any) -> Embed:
    """An `Embed` over a sentence encoder that encodes each distinct text of a call once, longest first, in batches.

    The last bits of a vector depend on the batch that its text is in; here they depend on the call alone.
    """
    from preflow.models import autocast  # checking names needs no torch

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        distinct = sorted(dict.fromkeys(texts), key=len, reverse=True)
        with autocast():
            encoded = encoder.encode(
                distinct, batch_size=_ENCODER_BATCH, normalize_embeddings=True, show_progress_bar=False
            )
        vectors = dict(zip(distinct, encoded.astype(np.float32), strict=True))
        return np.stack([vectors[text] for text in texts])

    return embed


def remembering(encoder: Any) -> Embed:
    """Like `encoding`, but it keeps the vectors of the most recent texts instead of encoding them again."""
    return _remembering(encoding(encoder))


def _remembering(encode: Embed) -> Embed:
    memory: dict[str, NDArray[np.float32]] = {}

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        missing = [text for text in dict.fromkeys(texts) if text not in memory]
        if missing:
            memory.update(zip(missing, encode(missing), strict=True))
        vectors = np.stack([memory[text] for text in texts])
        for text in list(memory)[:-_REMEMBERED]:
            del memory[text]
        return vectors

    return embed
