"""validate-inputs, log-generations, auto-score, feedback-snapshot and build-preferences."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp.dsl import Dataset, Metrics

from components.auto_score import auto_score
from components.build_preferences import build_preferences
from components.feedback_snapshot import feedback_snapshot
from components.log_generations import log_generations
from components.validate_inputs import validate_inputs

Library = Callable[..., None]
Make = Callable[..., Any]


def _url(reference: str) -> str:
    return f"dsn of {reference!r}"


def test_validate_inputs_writes_three_datasets_and_hands_on_the_digests(library: Library, artifact: Make) -> None:
    seen: dict[str, Any] = {}

    def validate(**given: Any) -> dict[str, int]:
        seen.update(given)
        return {"prompts": 12}

    library("preflow.inputs", validate_inputs=validate)
    outputs = {name: artifact(Dataset, name) for name in ("prompts", "eval_prompts", "preferences")}
    digests = validate_inputs.python_func(
        prompt_dataset="p.jsonl",
        preference_dataset="",
        eval_dataset="",
        instruction="Be brief.",
        large_model_reference="m",
        reward_model_reference="r",
        encoder_reference="e",
        prompt_sequence_length=512,
        digests={"large_model_reference": "d1", "encoder_reference": "d3", "reward_weights": "d4"},
        code_version="c",
        **outputs,
    )
    assert digests == ("d1", "", "d3", "d4")
    assert (seen["instruction"], seen["prompts_out"]) == ("Be brief.", Path(outputs["prompts"].path))
    assert not {"digests", "code_version"} & set(seen)
    assert outputs["prompts"].metadata == {"prompts": 12}
    assert Path(outputs["preferences"].path).read_text() == "", "a missing artifact file would miss the cache for ever"


def test_log_generations_passes_the_database_and_not_the_cache_keys(library: Library, artifact: Make) -> None:
    seen: dict[str, Any] = {}
    library("preflow.generation.log_generations", log_generations=lambda **given: seen.update(given) or {"sampled": 8})
    library("preflow.store", database_url=_url)
    generations = artifact(Dataset, "generations")
    log_generations.python_func(
        prompts=artifact(Dataset, "prompts", "{}"),
        model="m",
        policy_digest="d",
        num_prompts=4,
        num_validation_prompts=2,
        num_samples=2,
        temperature=1.0,
        target_sequence_length=16,
        batch_size=8,
        seed=7,
        database="",
        store_id="s",
        code_version="c",
        generations=generations,
    )
    assert seen["database_url"] == "dsn of ''"
    assert (seen["shard"], seen["num_shards"], seen["seed"], seen["num_samples"]) == (0, 1, 7, 2)
    assert (seen["num_prompts"], seen["num_validation_prompts"]) == (4, 2)
    assert not {"store_id", "code_version", "policy_digest", "database"} & set(seen)
    assert generations.metadata == {"sampled": 8}


def test_auto_score_logs_the_means_as_metrics(library: Library, artifact: Make) -> None:
    library(
        "preflow.scoring.score_generations", score_generations=lambda **given: {"mean": {"relevance": 0.5}, "rows": 8}
    )
    library("preflow.store", database_url=_url)
    scored, metrics = artifact(Dataset, "scored"), artifact(Metrics, "metrics")
    auto_score.python_func(
        generations=artifact(Dataset, "generations", "{}"),
        prompts=artifact(Dataset, "prompts", "{}"),
        encoder="e",
        encoder_digest="d",
        label_weights={"relevance": 1.0},
        monitors=[],
        database="",
        store_id="s",
        code_version="c",
        scored_generations=scored,
        metrics=metrics,
    )
    assert scored.metadata == {"mean": {"relevance": 0.5}, "rows": 8}
    assert metrics.metadata == {"scores_mean_relevance": 0.5, "scores_rows": 8.0}


def test_feedback_snapshot_leaves_an_empty_file_where_nobody_said_anything(library: Library, artifact: Make) -> None:
    seen: dict[str, Any] = {}
    library("preflow.feedback", snapshot_feedback=lambda **given: seen.update(given) or {"rows": 0})
    library("preflow.store", database_url=_url)
    feedback = artifact(Dataset, "feedback")
    feedback_snapshot.python_func(
        feedback_watermark="17", database="", store_id="s", code_version="c", feedback=feedback
    )
    assert seen == {"database_url": "dsn of ''", "feedback_watermark": "17", "output": Path(feedback.path)}
    assert Path(feedback.path).read_text() == ""


@pytest.mark.parametrize("text", [None, ""])
def test_build_preferences_takes_absent_and_empty_inputs_for_none(
    library: Library, artifact: Make, text: str | None
) -> None:
    seen: dict[str, Any] = {}
    library("preflow.preferences", build_preferences=lambda **given: seen.update(given) or {"train": 3})
    feedback = None if text is None else artifact(Dataset, "feedback", text)
    pairs, metrics = artifact(Dataset, "pairs"), artifact(Metrics, "metrics")
    build_preferences.python_func(
        eval_prompts=artifact(Dataset, "eval_prompts", "{}"),
        min_score_gap=0.1,
        code_version="c",
        pairs=pairs,
        metrics=metrics,
        feedback=feedback,
        preferences=artifact(Dataset, "preferences", "{}"),
    )
    assert (seen["scored_generations"], seen["feedback"], seen["preferences"].name) == (None, None, "preferences")
    assert metrics.metadata == {"pairs_train": 3.0}
