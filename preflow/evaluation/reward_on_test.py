"""The accuracy of the reward model on test prompts: their answers are labelled like those of training."""

from collections.abc import Sequence
from itertools import combinations

from preflow.evaluation.names import LABEL_SCORE
from preflow.reward.accuracy import judge_pairs
from preflow.reward.model import RewardModel
from preflow.rows import Answer, Evaluation, Preference
from preflow.scoring.metric import Embed

ACCURACIES = ("accuracy", "accuracy_low", "accuracy_high", "baseline_longer", "baseline_similarity")


def test_accuracy(
    model: RewardModel,
    rows: Sequence[Evaluation],
    pairs: Sequence[Preference],
    embed: Embed,
    *,
    min_score_gap: float,
    seed: int,
) -> dict[str, float] | None:
    """The reward model's accuracy on test prompts; None if there is no pair.

    The pairs are the given ones, and those that label scores make of the base model's answers: the policy's own answers
    were made to please the reward model.
    """
    on_test = [row for row in pairs if row.split == "test"] + _labelled(rows, min_score_gap)
    if not on_test:
        return None
    found = judge_pairs(model, on_test, embed, seed)
    return {"pairs": float(len(on_test)), **{name: found[name] for name in ACCURACIES}}


def _labelled(rows: Sequence[Evaluation], min_score_gap: float) -> list[Preference]:
    """Pairs of the base model's answers to a test prompt whose label scores differ by enough."""
    answers: dict[str, dict[str, Answer]] = {}
    prompts = {row.prompt_id: row.prompt for row in rows}
    for row in rows:
        for name, found in row.answers.items():
            if name != "tuned" and LABEL_SCORE in found.scores:
                answers.setdefault(row.prompt_id, {})[found.response] = found
    return [
        Preference(
            prompt=prompts[prompt_id],
            chosen=better.response,
            rejected=worse.response,
            prompt_id=prompt_id,
            source="label",
            group_id=prompt_id,
            split="test",
        )
        for prompt_id, texts in answers.items()
        for pair in combinations(texts.values(), 2)
        for worse, better in [sorted(pair, key=_label)]
        if _label(better) - _label(worse) >= max(min_score_gap, 1e-9)
    ]


def _label(found: Answer) -> float:
    return found.scores[LABEL_SCORE] or 0.0
