"""The two real pipelines through the real launcher and the real store, with small stand-ins for the verbs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.local.run import run_local
from launch.runs.summary import FIGURES
from pipelines.compile import compile_pipeline
from preflow.errors import PreflowError
from preflow.rows import Feedback
from preflow.store import append_feedback, connect, list_runs

_STUBS = Path(__file__).parent / "stubs"
_EVERY_STEP_BUT_THE_RECORD = {
    "validate-inputs",
    "log-generations",
    "auto-score",
    "feedback-snapshot",
    "build-preferences",
    "train-reward-model",
    "ppo-optimize",
    "base-inference",
    "eval-inference",
    "promote",
}


@pytest.fixture
def launched(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs a pipeline and gives its summary."""
    monkeypatch.setenv("PYTHONPATH", str(_STUBS))
    monkeypatch.setenv("DATABASE_URL", database_url)

    def run(name: str, **parameters: Any) -> Any:
        compiled = compile_pipeline(name, tmp_path / f"{name}.yaml")
        folder = run_local(compiled, parameters, tmp_path / "home")
        return json.loads((folder / "summary.json").read_text())

    return run


def test_another_threshold_of_promotion_evaluates_nothing_again(
    launched: Callable[..., Any], database_url: str
) -> None:
    first = launched("rlhf")
    stricter = launched("rlhf", max_kl=1.0)
    assert set(stricter["cached"]) == _EVERY_STEP_BUT_THE_RECORD - {"promote"}
    assert (first["promoted"], stricter["promoted"]) == (True, False)
    with connect(database_url) as connection:
        recorded = {run.run_id: run for run in list_runs(connection)}[stricter["run_id"]]
    assert recorded.promotion_reason == stricter["reason"] == stricter["verdict"]["reason"]
    assert "1 are allowed" in stricter["reason"]


def test_the_loop_is_recorded_and_the_same_run_again_comes_from_the_cache(
    launched: Callable[..., Any], database_url: str
) -> None:
    first = launched("rlhf")
    assert first["cached"] == []
    assert (first["win_rate"], first["promoted"], first["reward_model_accuracy"]) == (0.75, True, 0.75)

    second = launched("rlhf", num_samples=4)
    assert set(second["cached"]) == _EVERY_STEP_BUT_THE_RECORD, "recording a run must not change what the next one sees"

    changed = launched("rlhf", kl_coeff=0.2)
    assert "train-reward-model" in changed["cached"]
    assert not {"ppo-optimize", "eval-inference"} & set(changed["cached"])

    with connect(database_url) as connection:
        runs = {run.run_id: run for run in list_runs(connection)}
        assert set(runs) == {first["run_id"], second["run_id"], changed["run_id"]}
        assert runs[changed["run_id"]].parameters["kl_coeff"] == 0.2
        for one in (first, second, changed):
            record = runs[one["run_id"]]
            assert {name: record.metrics.get(name) for name in FIGURES} == {name: one[name] for name in FIGURES}
            assert (record.promoted, record.promotion_reason) == (one["promoted"], one["reason"])
        said = Feedback(
            feedback_id="f1",
            kind="thumbs",
            prompt_id="p1",
            prompt="What is dew?",
            responses=[{"text": "Water."}],
            value=1,
            labeler="ada",
            source="human",
            created_at="2026-01-02T03:04:05Z",
        )
        append_feedback(connection, [said])

    heard = launched("rlhf")
    assert "log-generations" in heard["cached"]
    assert not {"feedback-snapshot", "build-preferences", "train-reward-model"} & set(heard["cached"])


def test_the_classic_stages_need_the_database_only_for_the_record(
    launched: Callable[..., Any], database_url: str
) -> None:
    summary = launched("rlhf_from_preferences", eval_dataset="")
    assert summary["promoted"] is True
    assert "log-generations" not in summary["seconds"]
    with connect(database_url) as connection:
        assert [run.pipeline for run in list_runs(connection)] == ["rlhf-from-preferences"]


@pytest.mark.parametrize("name", ["rlhf", "rlhf_from_preferences"])
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"ppo_minibatches": 5},
            "^--ppo-minibatches: 5 given; it must divide the number of prompts, --reinforcement-learning-batch-size",
        ),
        ({"reinforcement_learning_train_steps": 0}, "^--reinforcement-learning-train-steps: 0 given; it must be"),
        ({"reward_model_learning_rate": -1.0}, "^--reward-model-learning-rate: -1.0 given; it must be"),
        ({"eval_temperatures": [0.7]}, r"^--eval-temperatures: \[0.7\] given; it must hold 0"),
        ({"min_win_rate": 2.0}, "^--min-win-rate: 2.0 given; it must be"),
        ({"ppo_options": {"top_layers": 4}}, r"^`top_layers`: 4 given; .* adapters \(--lora-rank 16\)"),
        (
            {"ppo_options": {"lora_layer": 4}},
            "^--ppo-options: 'lora_layer' is not known; choose from microbatch_tokens",
        ),
        ({"ppo_options": {"kl_coeff": 4}}, "^--ppo-options: 'kl_coeff' is a parameter of its own"),
        ({"ppo_eval_steps": 0, "ppo_options": {"keep_best": True}}, "^`keep_best`: .* --ppo-eval-steps above 0"),
        ({"reward_weights": {}}, "^--reward-weights: no part is named"),
        ({"reward_weights": {"reward_model": True}}, "^--reward-weights: the weight of 'reward_model' is True"),
        ({"reward_weights": {"reward_modle": 1.0}}, "^--reward-weights: 'reward_modle' is not known"),
        ({"monitors": ["coherence"], "reward_weights": {"scorer:coherence": 1.0}}, "'coherence' is part of the reward"),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs_and_named_as_typed(
    launched: Callable[..., Any], tmp_path: Path, name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(PreflowError, match=message):
        launched(name, **parameters)
    assert not (tmp_path / "home/runs").exists()
