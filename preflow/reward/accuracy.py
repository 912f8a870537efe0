"""How often a reward model agrees with the preferences, and whether simple rules would do as well."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preflow.chat import last_user_turn
from preflow.intervals import bootstrap_interval
from preflow.reward.model import RewardModel
from preflow.rows import Preference
from preflow.scoring.metric import Embed
from preflow.scoring.words import words


def judge_pairs(model: RewardModel, pairs: Sequence[Preference], embed: Embed, seed: int) -> dict[str, Any]:
    """Accuracy of a reward model and of two rules on pairs, with ROC curve and confusion matrix.

    Ties count half. The interval is a 95 % percentile bootstrap over prompts, because pairs of one prompt are not
    independent.

    Args:
        model: Reward model; it need not be calibrated, because only differences count.
        pairs: Preference rows, at least one.
        embed: Embeds texts for the rule "the answer more similar to the prompt wins".
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
        "baseline_similarity": float(_wins(_similarity_margins(pairs, embed)).mean()),
        **_classification(margins, seed),
    }


def _wins(margins: NDArray[Any]) -> NDArray[np.float64]:
    return np.where(margins > 0, 1.0, np.where(margins == 0, 0.5, 0.0))


def _similarity_margins(pairs: Sequence[Preference], embed: Embed) -> NDArray[np.float32]:
    asked = [last_user_turn(pair.prompt) for pair in pairs]
    texts = [*asked, *(pair.chosen for pair in pairs), *(pair.rejected for pair in pairs)]
    prompts, chosen, rejected = embed(texts).reshape(3, len(pairs), -1)
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
