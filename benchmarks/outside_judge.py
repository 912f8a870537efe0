"""A second opinion: a reward model that was trained on preferences which nothing in a run has seen."""

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from preflow.evaluation.win_rates import win_rate
from preflow.feedback.importers import read_preferences
from preflow.inputs import read_prompts
from preflow.preferences import build_preferences
from preflow.reward.config import RewardModelConfig
from preflow.reward.model import RewardModel, read_summary
from preflow.reward.train import train_reward_model
from preflow.rows import Evaluation, read_rows, write_rows

_ENCODER = "all-MiniLM-L6-v2"
_STEPS, _BATCH = 120, 16
_LENGTH = 128  # tokens of a prompt, and of an answer: the evaluation's answers are no longer


class OutsideJudge:
    """Judges base and tuned answers by a reward model of its own.

    Its labels are ours to choose, its opinion is not: it says how far a gain by our judges is one by others'.
    """

    def __init__(self, preferences: str) -> None:
        """Trains the reward model on a preference file of any accepted form; prompts of a run play no part in it."""
        feedback, _ = read_preferences(preferences)
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_rows(folder / "feedback.jsonl", [row for _, row in feedback])
            (folder / "prompts.jsonl").touch()
            packaged = [
                read_prompts(f"packaged:{name}", split=lambda _: "test") for name in ("prompts", "test-prompts")
            ]
            write_rows(folder / "ours.jsonl", [row for rows in packaged for _, row in rows])
            build_preferences(
                scored_generations=None,
                feedback=None,
                given_feedback=folder / "feedback.jsonl",
                eval_prompts=folder / "ours.jsonl",
                min_score_gap=0.0,
                output=folder / "pairs.jsonl",
            )
            train_reward_model(
                pairs=folder / "pairs.jsonl",
                prompts=folder / "prompts.jsonl",
                base_model=_ENCODER,
                encoder=_ENCODER,
                output=folder / "model",
                config=RewardModelConfig(
                    train_steps=_STEPS,
                    batch_size=_BATCH,
                    prompt_sequence_length=_LENGTH,
                    target_sequence_length=_LENGTH,
                ),
            )
            self.model = RewardModel.load(folder / "model")
            self.summary = read_summary(folder / "model")

    def judge(self, evaluations: Path) -> dict[str, Any] | None:
        """The greedy win rate of an evaluation, beside the judge's own accuracy and that of preferring length."""
        rows = [row for row in read_rows(evaluations / "evaluations.jsonl", Evaluation) if row.temperature == 0]
        prompts = [row.prompt for row in rows]
        answers = {name: [row.answers[name] for row in rows] for name in ("tuned", "base")}
        scores = {
            name: self.model.score(prompts, [one.response for one in given]).tolist() for name, given in answers.items()
        }
        lengths = {name: [one.tokens for one in given] for name, given in answers.items()}
        rate = win_rate(scores["tuned"], scores["base"], lengths["tuned"], lengths["base"], seed=0)
        figures = {
            name: self.summary[name] for name in ("accuracy", "accuracy_low", "accuracy_high", "baseline_longer")
        }
        return {**dataclasses.asdict(rate), **figures} if rate else None
