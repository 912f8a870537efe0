"""A small, complete run to report on, that tests change piece by piece."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from preflow.evaluation.report_data import ReportData
from preflow.evaluation.win_rates import win_rate
from preflow.rows import Answer, Evaluation

MakeData = Callable[..., ReportData]
MakeRow = Callable[..., Evaluation]


def evaluation(number: int, tuned: float | None = 0.8, base: float | None = 0.5, **fields: Any) -> Evaluation:
    """One test prompt; the base answer is cut off at its limit, the tuned one ends."""
    answers = {
        "base": Answer(
            response="base says", tokens=64, finish_reason="length", scores={"label_score": base, "calm": 0.5}
        ),
        "tuned": Answer(
            response="tuned says", tokens=40, finish_reason="stop", scores={"label_score": tuned, "calm": 0.5}
        ),
    }
    values = {"prompt_id": f"id{number}", "prompt": f"Question {number}?", "category": "how-to", "answers": answers}
    return Evaluation(**{**values, **fields})


def update(number: int) -> dict[str, float]:
    """One row of the training log."""
    return {
        "update": number,
        "reward_mean": 0.1 * number,
        "kl": 0.5 * number,
        "response_tokens_mean": 50.0,
        "response_tokens_p95": 64.0,
        "eos_rate": 0.5,
        "entropy": 2.0,
        "approx_kl": 0.004,
        "clip_fraction": 0.1,
        "explained_variance": 0.3,
    }


@pytest.fixture
def make_row() -> MakeRow:
    return evaluation


@pytest.fixture
def make_data() -> MakeData:
    """Makes report data; keyword arguments replace fields. Win rates are computed when not given."""

    def make(**changes: Any) -> ReportData:
        rows = changes.get("evaluations", [evaluation(number) for number in range(12)])
        roles = changes.get("judge_roles", {"label_score": "label score", "calm": "monitor"})
        wins = {}
        for judge in roles:
            scores = {m: [row.answers[m].scores.get(judge) for row in rows] for m in ("tuned", "base")}
            lengths = {m: [row.answers[m].tokens for row in rows] for m in ("tuned", "base")}
            win = win_rate(scores["tuned"], scores["base"], lengths["tuned"], lengths["base"], seed=1, resamples=50)
            if win is not None:
                wins[judge] = win
        data = ReportData(
            title="run-1",
            base_model="SmolLM2-135M-Instruct",
            policy_digest="abc123",
            max_tokens=64,
            parameters={"kl_coeff": 0.05, "label_weights": {"relevance": 2.0}},
            evaluations=rows,
            win_rates=wins,
            judge_roles=roles,
            base={"label_score": 0.5, "response_tokens": 64.0, "eos_rate": 0.0, "distinct_1": 0.5, "rouge_l": None},
            tuned={"label_score": 0.8, "response_tokens": 40.0, "eos_rate": 1.0, "distinct_1": 0.6, "rouge_l": None},
            kl=3.5,
            reward_summary={
                "accuracy": 0.75,
                "accuracy_low": 0.7,
                "accuracy_high": 0.8,
                "baseline_longer": 0.6,
                "baseline_similarity": 0.55,
                "train_pairs": 2000,
                "validation_pairs": 500,
                "zero_point": 0.2,
            },
            training_log=[update(number) for number in range(1, 4)],
        )
        return replace(data, **changes)

    return make


@pytest.fixture
def make_log() -> Callable[[int], list[dict[str, float]]]:
    return lambda count: [update(number) for number in range(1, count + 1)]
