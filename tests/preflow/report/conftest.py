"""A small, complete run to report on, that tests change piece by piece."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from preflow.evaluation.verdict import PromotionConfig, reach_verdict
from preflow.evaluation.win_rates import WinRate, win_rate
from preflow.report.data import ReportData
from preflow.rows import Answer, Evaluation

MakeData = Callable[..., ReportData]
MakeRow = Callable[..., Evaluation]
WIN = WinRate(0.7, 0.6, 0.8, 0.68, 0.58, 0.78, 8, 0, 4)
REWARD_SUMMARY = {
    "accuracy": 0.75,
    "accuracy_low": 0.7,
    "accuracy_high": 0.8,
    "baseline_longer": 0.6,
    "baseline_similarity": 0.55,
    "train_pairs": 2000,
    "validation_pairs": 500,
    "zero_point": 0.2,
}


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
    """Makes report data; keyword arguments replace what it holds. Win rates are computed when not given."""

    def make(**changes: Any) -> ReportData:
        rows = changes.pop("evaluations", [evaluation(number) for number in range(12)])
        log = changes.pop("training_log", [update(number) for number in range(1, 4)])
        examples = changes.pop("examples", 8)
        summary = make_summary(rows, **changes)
        return ReportData(rows, summary, log, reach_verdict(summary, PromotionConfig()), examples)

    return make


def make_summary(rows: list[Evaluation], **changes: Any) -> dict[str, Any]:
    """What an evaluation of these rows found, at one temperature."""
    roles = changes.pop("judge_roles", {"label_score": "label score", "calm": "monitor"})
    wins = changes.pop("win_rates", None)
    if wins is None:
        wins = {judge: rate for judge in roles if (rate := rate_of(judge, rows)) is not None}
    rates = {judge: dataclasses.asdict(rate) for judge, rate in wins.items()}
    lead = next((judge for judge in roles if judge == "label_score"), None)
    run = {
        "base_model": "SmolLM2-135M-Instruct",
        "policy_digest": "abc123",
        "max_tokens": 64,
        "parameters": {"kl_coeff": 0.05, "label_weights": {"relevance": 2.0}},
        "definitions": {},
        "reward_model": changes.pop("reward_summary", REWARD_SUMMARY),
    }
    run |= {name: changes.pop(name) for name in run if name in changes}
    summary = {
        "lead": lead,
        "passed_over": {},
        "temperatures": {"0": rates},
        "best_base": {"temperature": 0.7, **dataclasses.asdict(WIN)},
        "base": {"label_score": 0.5, "response_tokens": 64.0, "eos_rate": 0.0, "distinct_1": 0.5, "rouge_l": None},
        "tuned": {"label_score": 0.8, "response_tokens": 40.0, "eos_rate": 1.0, "distinct_1": 0.6, "rouge_l": None},
        "kl": 3.5,
        "kl_high": 4.5,
        "reward_model_test": None,
        "canaries": {judge: {"copied_prompt": 0.03} for judge in roles},
        "canary_wins": {judge: {"copied_prompt": 0.3} for judge in roles},
        "judges": {judge: {"role": role, "bases": ["words"], "maximized": False} for judge, role in roles.items()},
        **{
            name if name.startswith("baseline") else f"reward_model_{name}": run["reward_model"].get(name)
            for name in ("accuracy", "accuracy_low", "accuracy_high", "baseline_longer", "baseline_similarity")
        },
        "run": run,
    }
    return {**summary, **changes}


def rate_of(judge: str, rows: list[Evaluation]) -> WinRate | None:
    """The win rate by a judge over rows."""
    scores = {m: [row.answers[m].scores.get(judge) for row in rows] for m in ("tuned", "base")}
    lengths = {m: [row.answers[m].tokens for row in rows] for m in ("tuned", "base")}
    return win_rate(scores["tuned"], scores["base"], lengths["tuned"], lengths["base"], seed=1, resamples=50)


@pytest.fixture
def make_log() -> Callable[[int], list[dict[str, float]]]:
    return lambda count: [update(number) for number in range(1, count + 1)]
