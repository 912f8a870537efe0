"""The two real pipelines through the real launcher and the real store, with small stand-ins for the verbs."""

import ast
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.ppo_optimize import ppo_optimize
from pipelines import launch
from pipelines.compile import compile_pipeline
from pipelines.launch import run_local
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
        assert runs[first["run_id"]].metrics["eval_win_rates_label_score_low"] == 0.625
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
        ({"ppo_minibatches": 5}, "minibatches: 5 given; it must divide batch_size, 32"),
        ({"ppo_options": {"top_layers": 4}}, "top_layers: 4 given; adapters .* set one of the two to 0"),
        ({"ppo_options": {"lora_layer": 4}}, "ppo_options: 'lora_layer' is not known; choose from microbatch_tokens"),
        ({"ppo_options": {"kl_coeff": 4}}, "ppo_options: 'kl_coeff' is a parameter of its own"),
        ({"ppo_eval_steps": 0, "ppo_options": {"keep_best": True}}, "keep_best: True given; nothing is compared"),
        ({"reward_weights": {}}, "reward_weights: no part is named"),
        ({"reward_weights": {"reward_modle": 1.0}}, "reward_weights: 'reward_modle' is not known"),
        ({"monitors": ["coherence"], "reward_weights": {"scorer:coherence": 1.0}}, "'coherence' is part of the reward"),
    ],
)
def test_settings_of_ppo_that_contradict_each_other_are_refused_before_anything_runs(
    launched: Callable[..., Any], tmp_path: Path, name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(PreflowError, match=message):
        launched(name, **parameters)
    assert not (tmp_path / "home/runs").exists()


def test_what_is_checked_first_is_what_the_step_passes_on() -> None:
    """The launcher and the component name the same settings of PPO."""
    [call] = [
        node
        for node in ast.walk(ast.parse(Path(inspect.getfile(ppo_optimize.python_func)).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ppo_config"
    ]
    assert {keyword.arg for keyword in call.keywords} == set(launch._PPO_SETTINGS)
