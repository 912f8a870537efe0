"""Scores of both models' answers by every judge: the label score, each metric, and the reward model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from preflow.chat import last_user_turn
from preflow.evaluation.answering import Reply
from preflow.evaluation.report_data import LABEL_SCORE, REWARD_MODEL, WITHOUT_ENDING, JudgeRole
from preflow.reward.model import RewardModel
from preflow.rows import Answer, Evaluation, Prompt
from preflow.scoring import ended_properly
from preflow.scoring.label import label_score
from preflow.scoring.metric import Embed, ScoredText
from preflow.scoring.registry import score_texts


@dataclass(frozen=True)
class Panel:
    """The judges of a run.

    Attributes:
        label_weights: Weights of the label score; empty in a run without automated labels.
        monitors: Metrics that nothing was trained on.
        reward_model: The model whose score training aimed at.
        embed: Embeds texts for metrics that compare meanings.
    """

    label_weights: Mapping[str, float]
    monitors: Sequence[str]
    reward_model: RewardModel
    embed: Embed

    @property
    def roles(self) -> dict[str, JudgeRole]:
        """The role of every judge, by name."""
        return {
            **{name: "label score" for name in self._label_scores},
            **{name: "label metric" for name in self.label_weights},
            **{name: "monitor" for name in self.monitors},
            REWARD_MODEL: "reward model",
        }

    def judge(self, prompts: Sequence[Prompt], replies: Mapping[str, Sequence[Reply]]) -> list[Evaluation]:
        """One row per prompt, with every model's answer and each judge's score of it."""
        scores = {model: self._scores(prompts, given) for model, given in replies.items()}
        return [
            Evaluation(
                prompt_id=prompt.prompt_id,
                prompt=prompt.prompt,
                reference=prompt.reference,
                category=prompt.category,
                answers={
                    model: Answer(
                        response=given[row].response,
                        tokens=given[row].tokens,
                        finish_reason="stop" if given[row].stopped else "length",
                        scores={judge: column[row] for judge, column in scores[model].items()},
                    )
                    for model, given in replies.items()
                },
            )
            for row, prompt in enumerate(prompts)
        ]

    @property
    def _label_scores(self) -> dict[str, Mapping[str, float]]:
        """The weights of the label score, and of the one that leaves out `ended_properly`."""
        ended = ended_properly.METRIC.name
        without = {name: weight for name, weight in self.label_weights.items() if name != ended}
        variants = {LABEL_SCORE: self.label_weights, WITHOUT_ENDING: without if ended in self.label_weights else {}}
        return {name: weights for name, weights in variants.items() if weights}

    def _scores(self, prompts: Sequence[Prompt], replies: Sequence[Reply]) -> dict[str, list[float | None]]:
        texts = [
            ScoredText(last_user_turn(row.prompt), reply.response, reply.stopped, row.reference)
            for row, reply in zip(prompts, replies, strict=True)
        ]
        metrics: dict[str, list[float | None]] = {
            name: [score.value for score in column]
            for name, column in score_texts(texts, [*self.label_weights, *self.monitors], self.embed).items()
        }
        by_answer = [{name: column[row] for name, column in metrics.items()} for row in range(len(texts))]
        labels: dict[str, list[float | None]] = {
            name: [label_score(scores, weights) for scores in by_answer] for name, weights in self._label_scores.items()
        }
        rewards = self.reward_model.score([row.prompt for row in prompts], [reply.response for reply in replies])
        return {**labels, **metrics, REWARD_MODEL: rewards.tolist()}
