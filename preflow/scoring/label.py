"""The label score, from which preferences are made."""

from collections.abc import Mapping, Sequence

from preflow.identity import digest_json
from preflow.scoring.registry import METRICS


def label_score(scores: Mapping[str, float | None], weights: Mapping[str, float]) -> float:
    """The weighted mean of the scores named in `weights`, none of which may be null."""
    values = {name: scores[name] for name in weights}
    return sum(weights[name] * value for name, value in values.items() if value is not None) / sum(weights.values())


def scorer_digest(weights: Mapping[str, float], monitors: Sequence[str], encoder_digest: str) -> str:
    """The identity of a scorer: metrics with their versions, weights, and the encoder."""
    versions = {name: METRICS[name].version for name in [*weights, *monitors]}
    return digest_json([versions, dict(weights), encoder_digest])
