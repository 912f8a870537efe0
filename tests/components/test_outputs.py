"""What components write beside the files of their verbs: metadata, metrics, output parameters."""

import importlib
import inspect
import json
import typing
from collections.abc import Callable
from types import SimpleNamespace, UnionType
from typing import Any

import pytest
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Metrics, Model

from preflow.verbs import VERBS

Library = Callable[..., None]
Make = Callable[..., Any]
_CURVE = {"fpr": [0.0, 0.5, 1.0], "tpr": [0.0, 0.75, 1.0]}
_SUMMARY = {
    **{"win_rate_low": 0.6, "kl": 2.5, "nothing": None, "list": [1], "flag": True, "text": "a", "nan": float("nan")},
    "win_rates": {"label_score": {"low": 0.6, "high": None}},
    "roc": {**_CURVE, "threshold": [0.9, 0.5, 0.1]},
    "confusion": [[3, 1], [2, 4]],
}
_FLAT = {"win_rate_low": 0.6, "kl": 2.5, "flag": 1.0, "win_rates_label_score_low": 0.6}


@pytest.fixture
def run(library: Library, artifact: Make) -> Callable[..., dict[str, Any]]:
    """Runs a component on a verb that returns a summary with everything in it, and gives its artifacts and return."""

    def run(verb: str, **given: Any) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        settings = SimpleNamespace(of=lambda arguments: arguments)
        members = {verb: lambda **arguments: seen.update(arguments) or dict(_SUMMARY), "PPOConfig": settings}
        configs = {
            "generation.config": "GenerationConfig",
            "reward.config": "RewardModelConfig",
            "evaluation.config": "EvaluationConfig",
            "evaluation.base_config": "BaseInferenceConfig",
        }
        for module, config in configs.items():
            library(f"preflow.{module}", **{config: settings})
        library("preflow.store", database_url=str)
        library("preflow.runtime", prepare_process=lambda **_: None)
        library("preflow.ppo" if verb == "ppo_optimize" else VERBS[verb].module, **members)
        function = importlib.import_module(f"components.{verb}").__dict__[verb].python_func
        arguments = {name: _made(name, hint, artifact) for name, hint in function.__annotations__.items()}
        arguments.pop("return", None)
        returned = function(**{**arguments, **given})
        return {**arguments, "return": returned, "seen": seen}

    return run


def _made(name: str, hint: Any, artifact: Make) -> Any:
    kind = next((part for part in typing.get_args(hint) if inspect.isclass(part) and issubclass(part, Artifact)), None)
    return artifact(kind, name, "{}") if kind else name


@pytest.mark.parametrize("verb", [name for name in VERBS if name not in ("promote", "record_run")])
def test_metadata_and_metrics_are_flat_numbers(run: Callable[..., dict[str, Any]], verb: str) -> None:
    for name, value in run(verb).items():
        if isinstance(value, Artifact) and not isinstance(value, ClassificationMetrics):
            assert all(isinstance(one, float) for one in value.metadata.values()), name
            json.dumps(value.metadata, allow_nan=False)


@pytest.mark.parametrize("verb", VERBS)
def test_no_artifact_input_is_a_union(verb: str) -> None:
    """KFP's driver hands artifacts over without a type, and the executor then makes one of the annotation."""
    function = importlib.import_module(f"components.{verb}").__dict__[verb].python_func
    for hint in function.__annotations__.values():
        parts = [hint, *typing.get_args(hint)]
        assert not any(isinstance(part, UnionType) or typing.get_origin(part) is typing.Union for part in parts)


@pytest.mark.parametrize(
    ("verb", "prefix"),
    [
        ("auto_score", "scores"),
        ("build_preferences", "pairs"),
        ("train_reward_model", "reward_model"),
        ("ppo_optimize", "ppo"),
        ("eval_inference", "eval"),
    ],
)
def test_the_metrics_of_a_step_begin_with_its_name(run: Callable[..., dict[str, Any]], verb: str, prefix: str) -> None:
    assert run(verb)["metrics"].metadata == {f"{prefix}_{name}": value for name, value in _FLAT.items()}


def test_the_figures_of_an_evaluation_are_its_metadata(run: Callable[..., dict[str, Any]]) -> None:
    assert run("eval_inference")["evaluations"].metadata == _FLAT


def test_the_reward_model_logs_its_curves(run: Callable[..., dict[str, Any]]) -> None:
    curves = run("train_reward_model")["curves"]
    points = curves.metadata["confidenceMetrics"]
    assert [point["confidenceThreshold"] for point in points] == [0.9, 0.5, 0.1]
    assert [point["recall"] for point in points] == [0.0, 0.75, 1.0]
    assert [row["row"] for row in curves.metadata["confusionMatrix"]["rows"]] == [[3, 1], [2, 4]]
    json.dumps(curves.metadata, allow_nan=False)


def test_ppo_without_a_checkpoint_root_keeps_no_checkpoints(run: Callable[..., dict[str, Any]]) -> None:
    assert run("ppo_optimize", checkpoint_root="")["seen"]["checkpoints"] == ""


@pytest.mark.parametrize(("run_id", "recorded"), [("rlhf-1", "rlhf-1"), ("", "job_name")])
def test_the_record_is_named_after_the_run_or_else_the_job(
    run: Callable[..., dict[str, Any]], run_id: str, recorded: str
) -> None:
    assert run("record_run", run_id=run_id)["seen"]["run_id"] == recorded


@pytest.mark.parametrize("verb", ["build_preferences", "record_run"])
def test_an_absent_artifact_is_none(run: Callable[..., dict[str, Any]], verb: str) -> None:
    assert run(verb, scored_generations=None)["seen"]["scored_generations"] is None


def test_artifacts_keep_their_types() -> None:
    steps = [importlib.import_module(f"components.{verb}").__dict__[verb] for verb in ("eval_inference", "promote")]
    types = {name: output.type for step in steps for name, output in step.component_spec.outputs.items()}
    assert types["report"] == f"{HTML.schema_title}@0.0.1"
    assert types["evaluations"] == f"{Dataset.schema_title}@0.0.1"
    assert types["metrics"] == f"{Metrics.schema_title}@0.0.1"
    models = importlib.import_module("components.ppo_optimize").ppo_optimize.component_spec.outputs
    assert models["policy"].type == f"{Model.schema_title}@0.0.1"
