"""The label score, from which preferences are made."""

from collections.abc import Mapping, Sequence
from math import fsum

from preflow.identity import digest_json
from preflow.scoring.registry import METRICS


def label_score(scores: Mapping[str, float | None], weights: Mapping[str, float]) -> float:
    """The weighted mean of the scores named in `weights`, none of which may be null.

    The order of `weights` changes no bit of it: KFP hands the entries of a dictionary on in any order.
    """
    products = [weight * value for name, weight in weights.items() if (value := scores[name]) is not None]
    return fsum(products) / fsum(weights.values())


def scorer_digest(weights: Mapping[str, float], monitors: Sequence[str], encoder_digest: str) -> str:
    """The identity of a scorer: metrics with their versions, weights, and the encoder."""
    versions = {name: METRICS[name].version for name in [*weights, *monitors]}
    return digest_json([versions, dict(weights), encoder_digest])
