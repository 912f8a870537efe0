"""How often a reward model agrees with the preferences, and whether simple rules would do as well."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preflow.chat import last_user_turn
from preflow.intervals import bootstrap_interval
from preflow.models import autocast, load_encoder
from preflow.reward.model import RewardModel
from preflow.rows import Preference
from preflow.scoring.registry import remembering
from preflow.scoring.words import words


def judge_pairs(model: RewardModel, pairs: Sequence[Preference], encoder: str, seed: int) -> dict[str, Any]:
    """Accuracy of a reward model and of two rules on pairs, with ROC curve and confusion matrix.

    Ties count half. The interval is a 95 % percentile bootstrap over prompts, because pairs of one prompt are not
    independent.

    Args:
        model: Reward model; it need not be calibrated, because only differences count.
        pairs: Preference rows, at least one.
        encoder: Reference of the sentence encoder for the rule "the answer more similar to the prompt wins".
        seed: Seed of the bootstrap, and of the order in which the two sides of a pair are shown.
    """
    prompts = [pair.prompt for pair in pairs]
    chosen, rejected = [pair.chosen for pair in pairs], [pair.rejected for pair in pairs]
    margins = (model.score(prompts, chosen) - model.score(prompts, rejected)).numpy()
    right = _wins(margins)
    longer = np.array([len(words(good)) - len(words(bad)) for good, bad in zip(chosen, rejected, strict=True)])
    interval = bootstrap_interval(right.tolist(), seed, groups=[pair.prompt_id for pair in pairs])
    return {
        "accuracy": float(right.mean()),
        "accuracy_low": interval.low,
        "accuracy_high": interval.high,
        "baseline_longer": float(_wins(longer).mean()),
        "baseline_similarity": float(_wins(_similarity_margins(pairs, encoder)).mean()),
        **_classification(margins, seed),
    }


def _wins(margins: NDArray[Any]) -> NDArray[np.float64]:
    return np.where(margins > 0, 1.0, np.where(margins == 0, 0.5, 0.0))


def _similarity_margins(pairs: Sequence[Preference], encoder: str) -> NDArray[np.float32]:
    embed = remembering(load_encoder(encoder))
    asked = [last_user_turn(pair.prompt) for pair in pairs]
    texts = asked, [pair.chosen for pair in pairs], [pair.rejected for pair in pairs]
    with autocast():
        embed([text for part in texts for text in part])  # all at once, so that batches hold texts of similar length
    prompts, chosen, rejected = (embed(part) for part in texts)
    margins: NDArray[np.float32] = (prompts * (chosen - rejected)).sum(1)
    return margins


def _classification(margins: NDArray[Any], seed: int) -> dict[str, Any]:
    """ROC curve and confusion matrix of "the first answer is preferred", each pair shown in a random order."""
    from sklearn.metrics import confusion_matrix, roc_curve

    first = np.random.default_rng(seed).permutation(len(margins)) % 2 == 0
    probability = 1 / (1 + np.exp(-np.where(first, margins, -margins)))
    matrix = confusion_matrix(first, probability > 0.5, labels=[True, False]).tolist()
    if len(margins) < 2:
        return {"confusion": matrix, "roc": {"fpr": [], "tpr": [], "threshold": []}}
    false, true, thresholds = roc_curve(first, probability)
    finite = np.isfinite(thresholds)
    return {
        "confusion": matrix,
        "roc": {"fpr": false[finite].tolist(), "tpr": true[finite].tolist(), "threshold": thresholds[finite].tolist()},
    }
