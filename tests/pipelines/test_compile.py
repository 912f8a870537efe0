"""The compiled pipelines: their graph, their parameters, and that every place can load them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import defaults
from pipelines.compile import PIPELINES, compile_pipeline
from pipelines.spec import RESOLVED, read_pipeline
from preflow.errors import PreflowError

Edges = set[tuple[str, str]]

_TAIL = {
    ("build-preferences", "train-reward-model"),
    ("build-preferences", "eval-inference"),
    ("train-reward-model", "ppo-optimize"),
    ("train-reward-model", "eval-inference"),
    ("ppo-optimize", "eval-inference"),
    ("ppo-optimize", "record-run"),
    ("eval-inference", "promote"),
    ("eval-inference", "record-run"),
    ("promote", "record-run"),
}
_FROM_VALIDATION = {
    ("validate-inputs", step) for step in ("build-preferences", "train-reward-model", "ppo-optimize", "eval-inference")
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both pipelines as YAML."""
    folder = tmp_path_factory.mktemp("pipelines")
    return {name: compile_pipeline(name, folder / f"{name}.yaml") for name in PIPELINES}


def _spec(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _tasks(spec: Any) -> dict[str, Any]:
    """Every task of the graph by name, nested ones too; nested pipelines are left out."""
    found: dict[str, Any] = {}

    def walk(tasks: dict[str, Any]) -> None:
        for name, task in tasks.items():
            component = spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                walk(component["dag"]["tasks"])
            else:
                assert name not in found, f"two tasks are called {name}"
                found[name] = task

    walk(spec["root"]["dag"]["tasks"])
    return found


def _edges(spec: Any) -> Edges:
    """Who reads whose outputs, through the walls of nested pipelines."""
    edges: Edges = set()

    def producer(tasks: dict[str, Any], task: str, output: str) -> str:
        component = spec["components"][tasks[task]["componentRef"]["name"]]
        if "dag" not in component:
            return task
        inner, outputs = component["dag"]["tasks"], component["dag"]["outputs"]
        if output in outputs.get("artifacts", {}):
            [selector] = outputs["artifacts"][output]["artifactSelectors"]
            return producer(inner, selector["producerSubtask"], selector["outputArtifactKey"])
        selector = outputs["parameters"][output]["valueFromParameter"]
        return producer(inner, selector["producerSubtask"], selector["outputParameterKey"])

    def walk(tasks: dict[str, Any], given: dict[str, str]) -> None:
        for name, task in tasks.items():
            sources: dict[str, str] = {}
            for key, entry in {
                **task.get("inputs", {}).get("artifacts", {}),
                **task["inputs"].get("parameters", {}),
            }.items():
                made = entry.get("taskOutputArtifact") or entry.get("taskOutputParameter")
                passed = entry.get("componentInputArtifact") or entry.get("componentInputParameter")
                if made:
                    output = made.get("outputArtifactKey") or made["outputParameterKey"]
                    sources[key] = producer(tasks, made["producerTask"], output)
                elif passed in given:
                    sources[key] = given[passed]
            component = spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                walk(component["dag"]["tasks"], sources)
            else:
                edges.update((source, name) for source in sources.values())

    walk(spec["root"]["dag"]["tasks"], {})
    return edges


def test_the_loop_has_the_edges_of_the_diagram(compiled: dict[str, Path]) -> None:
    assert _edges(_spec(compiled["rlhf"])) == _TAIL | _FROM_VALIDATION | {
        ("validate-inputs", "log-generations"),
        ("validate-inputs", "auto-score"),
        ("log-generations", "auto-score"),
        ("auto-score", "build-preferences"),
        ("feedback-snapshot", "build-preferences"),
        ("auto-score", "record-run"),
    }


def test_the_classic_stages_neither_generate_nor_score_nor_ask(compiled: dict[str, Path]) -> None:
    assert _edges(_spec(compiled["rlhf_from_preferences"])) == _TAIL | _FROM_VALIDATION


def test_steps_stand_in_readable_groups(compiled: dict[str, Path]) -> None:
    steps = [(step.group, step.title) for step in read_pipeline(compiled["rlhf"]).steps]
    assert steps == [
        ("", "Validate inputs"),
        ("Collect", "Log generations"),
        ("Collect", "Score answers"),
        ("Collect", "Snapshot feedback"),
        ("Learn preferences", "Build preferences"),
        ("Learn preferences", "Train reward model"),
        ("Optimize", "Optimize policy (PPO)"),
        ("Evaluate", "Evaluate on unseen prompts"),
        ("Evaluate", "Decide promotion"),
        ("", "Record run"),
    ]


@pytest.mark.parametrize("name", PIPELINES)
def test_only_the_record_is_never_cached(compiled: dict[str, Path], name: str) -> None:
    tasks = _tasks(_spec(compiled[name]))
    assert {task for task, entry in tasks.items() if not entry["cachingOptions"].get("enableCache")} == {"record-run"}


@pytest.mark.parametrize("name", PIPELINES)
def test_every_step_has_the_code_version_in_its_key_and_only_the_record_the_run(
    compiled: dict[str, Path], name: str
) -> None:
    tasks = _tasks(_spec(compiled[name]))
    for task, entry in tasks.items():
        assert "code_version" in entry["inputs"]["parameters"], task
        assert ("run_id" in entry["inputs"]["parameters"]) == (task == "record-run")
        if "store_id" in entry["inputs"]["parameters"]:
            assert task in ("log-generations", "auto-score", "feedback-snapshot")
        if "database" in entry["inputs"]["parameters"]:
            assert task in ("log-generations", "auto-score", "feedback-snapshot", "record-run")


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
def test_parameters_have_a_default_and_help(compiled: dict[str, Path], name: str) -> None:
    parameters = read_pipeline(compiled[name]).parameters
    assert all(not parameter.required and parameter.help for parameter in parameters.values())
    assert parameters["num_prompts" if name == "rlhf" else "lora_rank"].default in (
        defaults.NUM_PROMPTS,
        defaults.LORA_RANK,
    )
    assert set(RESOLVED) & set(parameters) >= {"code_version", "digests", "run_id", "parameters"}
    assert ("store_id" in parameters) == (name == "rlhf")


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


def test_what_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n")
    with pytest.raises(PreflowError, match="not a compiled pipeline"):
        read_pipeline(path)
