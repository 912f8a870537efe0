"""train-reward-model, ppo-optimize, eval-inference, promote and record-run."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Markdown, Metrics, Model

from components.eval_inference import eval_inference
from components.ppo_optimize import ppo_optimize
from components.promote import promote
from components.record_run import record_run
from components.train_reward_model import train_reward_model

Library = Callable[..., None]
Make = Callable[..., Any]


def _train(library: Library, artifact: Make, threshold: list[float]) -> tuple[dict[str, Any], Any, Any, Any]:
    seen: dict[str, Any] = {}
    summary = {
        "accuracy": 0.75,
        "train_pairs": 30,
        "roc": {"fpr": [0.0, 0.5, 1.0], "tpr": [0.0, 0.75, 1.0], "threshold": threshold},
        "confusion": [[3, 1], [2, 4]],
    }
    library("preflow.reward", train_reward_model=lambda **given: seen.update(given) or summary)
    outputs = (artifact(Model, "model"), artifact(Metrics, "metrics"), artifact(ClassificationMetrics, "curves"))
    train_reward_model.python_func(
        preferences=artifact(Dataset, "pairs", "{}"),
        prompts=artifact(Dataset, "prompts", "{}"),
        base_model="r",
        reward_base_digest="d1",
        encoder="e",
        encoder_digest="d2",
        train_steps=40,
        batch_size=16,
        learning_rate=1e-4,
        prompt_sequence_length=100,
        target_sequence_length=28,
        seed=0,
        code_version="c",
        reward_model=outputs[0],
        metrics=outputs[1],
        curves=outputs[2],
    )
    return seen, *outputs


def test_the_reward_model_carries_its_summary(library: Library, artifact: Make) -> None:
    seen, model, metrics, _ = _train(library, artifact, [0.9, 0.5, 0.1])
    assert seen["max_length"] == 128
    assert model.metadata == {"accuracy": 0.75, "train_pairs": 30}
    assert metrics.metadata == {"reward_model_accuracy": 0.75, "reward_model_train_pairs": 30.0}


def test_infinite_thresholds_do_not_reach_the_curve(library: Library, artifact: Make) -> None:
    _, _, _, curves = _train(library, artifact, [float("inf"), 0.5, 0.1])
    points = curves.metadata["confidenceMetrics"]
    assert [point["confidenceThreshold"] for point in points] == [0.5, 0.1]
    assert [point["recall"] for point in points] == [0.75, 1.0]
    assert [row["row"] for row in curves.metadata["confusionMatrix"]["rows"]] == [[3, 1], [2, 4]]
    json.dumps(curves.metadata, allow_nan=False)


def test_ppo_gets_its_config_and_the_policy_its_summary(
    library: Library, artifact: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIP_TENSORBOARD_LOG_DIR", "/logs")
    seen: dict[str, Any] = {}
    library(
        "preflow.ppo",
        ppo_config=lambda options, **fields: SimpleNamespace(**options, **fields),
        optimize_policy=lambda **given: seen.update(given) or {"kl": 2.0, "name": "m"},
    )
    policy, log, metrics = artifact(Model, "policy"), artifact(Dataset, "log"), artifact(Metrics, "metrics")
    ppo_optimize.python_func(
        prompts=artifact(Dataset, "prompts", "{}"),
        reward_model=artifact(Model, "reward_model"),
        model="m",
        policy_digest="d",
        train_steps=8,
        batch_size=32,
        samples_per_prompt=4,
        ppo_epochs=4,
        ppo_minibatches=2,
        learning_rate=2e-4,
        kl_coeff=0.05,
        missing_eos_penalty=0.3,
        lora_rank=16,
        ppo_options={"lora_layers": 2},
        reward_weights={"reward_model": 2.0},
        encoder="e",
        encoder_digest="d",
        classifiers_digest="d",
        monitors=["coherence"],
        eval_steps=6,
        sampling_temperature=1.0,
        target_sequence_length=28,
        seed=3,
        checkpoint_root="gs://bucket/checkpoints",
        code_version="c",
        policy=policy,
        training_log=log,
        metrics=metrics,
    )
    assert (seen["config"].kl_coeff, seen["config"].missing_eos_penalty, seen["config"].seed) == (0.05, 0.3, 3)
    assert seen["config"].lora_layers == 2
    assert (seen["reward_weights"], seen["encoder"], seen["monitors"]) == ({"reward_model": 2.0}, "e", ["coherence"])
    assert (seen["config"].eval_steps, seen["logging_dir"]) == (6, "/logs")
    assert seen["checkpoints"] == "gs://bucket/checkpoints/c"
    assert seen["output"] == Path(policy.path)
    assert policy.metadata == {"kl": 2.0, "name": "m"}
    assert metrics.metadata == {"ppo_kl": 2.0}


def test_evaluation_hands_promote_its_two_numbers(library: Library, artifact: Make) -> None:
    seen: dict[str, Any] = {}
    summary = {"win_rate_low": 0.6, "kl": 2.5, "win_rates": {"label_score": {"low": 0.6}}}
    library("preflow.evaluation", evaluate=lambda **given: seen.update(given) or summary)
    evaluations, metrics = artifact(Dataset, "evaluations"), artifact(Metrics, "metrics")
    verdict = eval_inference.python_func(
        eval_prompts=artifact(Dataset, "eval_prompts", "{}"),
        preferences=artifact(Dataset, "pairs", "{}"),
        policy=artifact(Model, "policy"),
        reward_model=artifact(Model, "reward_model", metadata={"accuracy": 0.75}),
        training_log=artifact(Dataset, "log", "{}"),
        base_model="m",
        policy_digest="d1",
        encoder="e",
        encoder_digest="d2",
        label_weights={"relevance": 1.0},
        monitors=["coherence"],
        target_sequence_length=16,
        batch_size=8,
        max_prompts=4,
        temperature=0.0,
        seed=0,
        code_version="c",
        evaluations=evaluations,
        metrics=metrics,
        report=artifact(HTML, "report"),
        markdown=artifact(Markdown, "markdown"),
    )
    assert verdict == (0.6, 2.5)
    assert seen["reward_summary"] == {"accuracy": 0.75}
    assert evaluations.metadata == summary
    assert metrics.metadata == {"eval_win_rate_low": 0.6, "eval_kl": 2.5, "eval_win_rates_label_score_low": 0.6}


def test_promote_asks_the_rule(library: Library) -> None:
    library("preflow.promotion", decide_promotion=lambda **given: (given["kl"] <= given["max_kl"], "kl is fine"))
    assert promote.python_func(win_rate_low=0.6, kl=2.0, min_win_rate=0.5, max_kl=10.0, code_version="c") == (
        True,
        "kl is fine",
    )


@pytest.mark.parametrize(("run_id", "recorded"), [("rlhf-1", "rlhf-1"), ("", "job-7")])
def test_the_record_is_named_after_the_run_or_else_the_job(
    library: Library, artifact: Make, monkeypatch: pytest.MonkeyPatch, run_id: str, recorded: str
) -> None:
    seen: dict[str, Any] = {}

    @contextmanager
    def connect(url: str) -> Iterator[str]:
        yield url

    library(
        "preflow.store",
        connect=connect,
        database_url=lambda reference: f"dsn of {reference!r}",
        record_run=lambda connection, **given: seen.update(given, connection=connection),
    )
    rows = {"scored": [SimpleNamespace(generation_id="g1")], "evaluations": ["row"]}
    monkeypatch.setattr("preflow.rows.read_rows", lambda path, kind: rows[Path(path).name])
    record_run.python_func(
        run_id=run_id,
        job_name="job-7",
        pipeline="rlhf",
        parameters={"seed": 1},
        evaluations=artifact(Dataset, "evaluations", "{}"),
        metrics=artifact(Metrics, "metrics", metadata={"eval_kl": 2.0}),
        report=artifact(HTML, "report"),
        policy=artifact(Model, "policy"),
        promoted=True,
        reason="better",
        feedback_watermark="17",
        database="",
        code_version="c",
        scored_generations=artifact(Dataset, "scored", "{}"),
    )
    assert (seen["run_id"], seen["connection"], seen["generation_ids"]) == (recorded, "dsn of ''", ["g1"])
    assert seen["parameters"] == {"seed": 1, "code_version": "c"}
    assert seen["evaluations"] == ["row"]
    assert seen["policy_uri"].endswith("policy")
