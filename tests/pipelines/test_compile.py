"""The compiled pipelines: their graph, their parameters, and that every place can load them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.compile import PIPELINES, compile_pipeline
from pipelines.parameters import BY_LAUNCHER, PARAMETERS
from preflow.errors import PreflowError
from preflow.ppo.config import PPOConfig
from preflow.verbs import VERBS

Edges = set[tuple[str, str]]

_LEARNING = {
    ("validate-inputs", "build-preferences"),
    ("validate-inputs", "train-reward-model"),
    ("validate-inputs", "ppo-optimize"),
    ("validate-inputs", "base-inference"),
    ("base-inference", "eval-inference"),
    ("build-preferences", "train-reward-model"),
    ("build-preferences", "eval-inference"),
    ("train-reward-model", "ppo-optimize"),
    ("train-reward-model", "eval-inference"),
    ("ppo-optimize", "eval-inference"),
    ("ppo-optimize", "promote"),
    ("ppo-optimize", "record-run"),
    ("eval-inference", "promote"),
    ("eval-inference", "record-run"),
    ("promote", "record-run"),
}
_COLLECTING = {
    ("validate-inputs", "log-generations"),
    ("validate-inputs", "auto-score"),
    ("log-generations", "auto-score"),
    ("auto-score", "build-preferences"),
    ("feedback-snapshot", "build-preferences"),
    ("auto-score", "record-run"),
}
_DATABASE_STEPS = {"log-generations", "auto-score", "feedback-snapshot", "record-run"}


def _spec(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _tasks(path: Path) -> dict[str, Any]:
    tasks: dict[str, Any] = _spec(path)["root"]["dag"]["tasks"]
    return tasks


def _edges(path: Path) -> Edges:
    return {(before, name) for name, task in _tasks(path).items() for before in task.get("dependentTasks", [])}


@pytest.mark.parametrize(("name", "edges"), [("rlhf", _COLLECTING | _LEARNING), ("rlhf_from_preferences", _LEARNING)])
def test_the_root_graph_has_the_edges_of_the_diagram(compiled: dict[str, Path], name: str, edges: Edges) -> None:
    assert _edges(compiled[name]) == edges


@pytest.mark.parametrize("name", PIPELINES)
def test_every_edge_carries_data(compiled: dict[str, Path], name: str) -> None:
    """Steps hand on artifacts; a digest is a parameter of the pipeline."""
    for entry in _tasks(compiled[name]).values():
        assert not any("taskOutputParameter" in value for value in entry["inputs"].get("parameters", {}).values())


@pytest.mark.parametrize("name", PIPELINES)
def test_titles_are_the_names_of_the_steps_and_fit_a_console(compiled: dict[str, Path], name: str) -> None:
    titles = {task: entry["taskInfo"]["name"] for task, entry in _tasks(compiled[name]).items()}
    assert all(title == task for task, title in titles.items())
    assert max(map(len, titles)) <= 18


@pytest.mark.parametrize("name", PIPELINES)
def test_every_step_is_a_verb_of_the_library(compiled: dict[str, Path], name: str) -> None:
    assert {task.replace("-", "_") for task in _tasks(compiled[name])} <= set(VERBS)


def test_compiling_loads_no_training_library() -> None:
    heavy = ["torch", "transformers", "trl", "sentence_transformers", "sklearn", "scipy", "fastapi"]
    program = f"import sys, pipelines.rlhf, pipelines.compile; print(*(set({heavy}) & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", PIPELINES)
def test_only_the_record_is_never_cached(compiled: dict[str, Path], name: str) -> None:
    tasks = _tasks(compiled[name])
    assert {task for task, entry in tasks.items() if not entry["cachingOptions"].get("enableCache")} == {"record-run"}


@pytest.mark.parametrize("name", PIPELINES)
def test_every_cached_step_has_its_code_in_its_key_and_only_the_record_the_run(
    compiled: dict[str, Path], name: str
) -> None:
    for task, entry in _tasks(compiled[name]).items():
        inputs = entry["inputs"]["parameters"]
        assert ("code_version" in inputs) == (task != "record-run"), task
        assert ("run_id" in inputs) == (task == "record-run")
        assert ("database" in inputs) == (task in _DATABASE_STEPS)
        assert ("store_id" in inputs) == (task in _DATABASE_STEPS - {"record-run"})


@pytest.mark.parametrize("name", PIPELINES)
def test_one_document_on_our_image_without_installs_secrets_or_this_machines_paths(
    compiled: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = compiled[name].read_text()
    assert len(list(yaml.safe_load_all(text))) == 1
    executors = _spec(compiled[name])["deploymentSpec"]["executors"]
    assert {executor["container"]["image"] for executor in executors.values()} == {"preflow-python:latest"}
    for word in ("pip install", "postgresql://", "password", str(Path.home()), str(Path(__file__).parents[2])):
        assert word not in text


@pytest.mark.parametrize("name", PIPELINES)
def test_parameters_are_those_of_the_table(compiled: dict[str, Path], name: str) -> None:
    declared = _spec(compiled[name])["root"]["inputDefinitions"]["parameters"]
    assert {key: entry["description"] for key, entry in declared.items()} == {
        key: PARAMETERS[key].help for key in declared
    }
    other = {"monitors"} if name == "rlhf_from_preferences" else set()
    assert {key for key, entry in declared.items() if entry["defaultValue"] != PARAMETERS[key].default} == other


def test_the_loop_has_every_parameter_of_the_table(compiled: dict[str, Path]) -> None:
    declared = set(_spec(compiled["rlhf"])["root"]["inputDefinitions"]["parameters"])
    assert declared == set(PARAMETERS) - {"record_run_code"}
    classic = set(_spec(compiled["rlhf_from_preferences"])["root"]["inputDefinitions"]["parameters"])
    assert declared - classic - BY_LAUNCHER == {
        "num_prompts", "num_validation_prompts", "num_samples", "label_weights", "min_score_gap"
    }  # fmt: skip


def test_defaults_of_ppo_are_those_of_its_settings(compiled: dict[str, Path]) -> None:
    declared = _spec(compiled["rlhf"])["root"]["inputDefinitions"]["parameters"]
    settings = PPOConfig()
    assert declared["ppo_minibatches"]["defaultValue"] == settings.minibatches == 8
    assert declared["reinforcement_learning_learning_rate"]["defaultValue"] == settings.learning_rate == 0.0
    assert declared["ppo_samples_per_prompt"]["description"].startswith(
        "episodes of the same prompt; must divide `reinforcement_learning_batch_size`"
    )


@pytest.mark.parametrize("name", PIPELINES)
def test_vertex_takes_the_pipeline_offline(compiled: dict[str, Path], name: str) -> None:
    aiplatform = pytest.importorskip("google.cloud.aiplatform")
    from google.auth.credentials import AnonymousCredentials

    job = aiplatform.PipelineJob(
        display_name="rlhf",
        template_path=str(compiled[name]),
        pipeline_root="gs://bucket/root",
        project="project",
        location="us-central1",
        credentials=AnonymousCredentials(),
        parameter_values={"kl_coeff": 0.1, "lora_rank": 8, "monitors": ["coherence"], "run_id": "r1"},
    )
    config = job._gca_resource.runtime_config
    assert config.parameter_values["lora_rank"] == 8
    assert job._gca_resource.pipeline_spec["pipelineInfo"]["name"] == name.replace("_", "-")


def test_an_unknown_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match="no pipeline is called 'rlfh'; there are: rlhf, rlhf_from_preferences"):
        compile_pipeline("rlfh", tmp_path / "x.yaml")
