"""The judges of a run: what they rest on, what was trained on them, and their scores of answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preflow.chat import last_user_turn
from preflow.evaluation.names import LABEL_SCORE, REWARD_MODEL, WITHOUT_ENDING, JudgeRole
from preflow.reward.model import RewardModel
from preflow.rows import Answer, Reply
from preflow.scoring import ended_properly
from preflow.scoring.label import label_score
from preflow.scoring.metric import ENCODER, Embed, ScoredText
from preflow.scoring.registry import METRICS, score_texts

Scores = dict[str, list[float | None]]
"""A score of each of N answers, by judge; null where a judge has none."""


@dataclass(frozen=True)
class Panel:
    """The judges of a run.

    Attributes:
        label_weights: Weights of the label score; empty in a run without automated labels.
        monitors: Metrics that nothing was trained on.
        reward_weights: Weights of the parts of the reward that PPO maximized.
        reward_model: The model that was trained on preferences.
        embed: Embeds texts for metrics that compare meanings.
    """

    label_weights: Mapping[str, float]
    monitors: Sequence[str]
    reward_weights: Mapping[str, float]
    reward_model: RewardModel
    embed: Embed

    @property
    def judges(self) -> dict[str, dict[str, Any]]:
        """By judge: its `role`, the `bases` it rests on, and whether it was `maximized` by PPO, itself or in part."""
        parts = {name.removeprefix("scorer:") for name, weight in self.reward_weights.items() if weight}

        def metrics(names: Sequence[str], role: JudgeRole) -> dict[str, Any]:
            bases = sorted({METRICS[name].basis for name in names})
            return {"role": role, "bases": bases, "maximized": not parts.isdisjoint(names)}

        bases = [ENCODER if self.reward_model.kind == "encoder" else "language model"]
        return {
            **{name: metrics([*weights], "label score") for name, weights in self._label_scores.items()},
            **{name: metrics([name], "label metric") for name in self.label_weights},
            **{name: metrics([name], "monitor") for name in self.monitors},
            REWARD_MODEL: {"role": "reward model", "bases": bases, "maximized": REWARD_MODEL in parts},
        }

    @property
    def candidates(self) -> list[str]:
        """The judges that may lead, the first choice first: the label score, then the monitors."""
        return [*([LABEL_SCORE] if self.label_weights else []), *self.monitors]

    def scores(self, replies: Sequence[Reply]) -> Scores:
        """The scores of answers by every judge."""
        rewards = self.reward_model.score([row.prompt for row in replies], [row.response for row in replies])
        return {**self.metric_scores(replies), REWARD_MODEL: rewards.tolist()}

    def metric_scores(self, replies: Sequence[Reply]) -> Scores:
        """The scores of answers by every judge but the reward model."""
        texts = [
            ScoredText(last_user_turn(row.prompt), row.response, row.finish_reason == "stop", row.reference)
            for row in replies
        ]
        metrics: Scores = {
            name: [score.value for score in column]
            for name, column in score_texts(texts, [*self.label_weights, *self.monitors], self.embed).items()
        }
        by_answer = [{name: column[row] for name, column in metrics.items()} for row in range(len(texts))]
        labels: Scores = {
            name: [label_score(scores, weights) for scores in by_answer] for name, weights in self._label_scores.items()
        }
        return {**labels, **metrics}

    @property
    def _label_scores(self) -> dict[str, Mapping[str, float]]:
        """The weights of the label score, and of the one that leaves out `ended_properly`."""
        ended = ended_properly.METRIC.name
        without = {name: weight for name, weight in self.label_weights.items() if name != ended}
        variants = {LABEL_SCORE: self.label_weights, WITHOUT_ENDING: without if ended in self.label_weights else {}}
        return {name: weights for name, weights in variants.items() if weights}


def judged(replies: Sequence[Reply], scores: Scores) -> list[Answer]:
    """Answers with their scores."""
    return [
        Answer(
            response=row.response,
            tokens=row.tokens,
            finish_reason=row.finish_reason,
            scores={judge: column[number] for judge, column in scores.items()},
        )
        for number, row in enumerate(replies)
    ]
