"""What the launcher fills in: digests of code, files and models, and the state of the database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.resolve import filled_in, local_inputs, resolve, settings
from launch.spec import Pipeline, read_pipeline
from pipelines.compile import compile_pipeline
from preflow.errors import PreflowError
from preflow.store import connect, feedback_watermark, store_id
from preflow.verbs import VERBS


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pipeline]:
    """Reads a compiled pipeline by name."""
    folder = tmp_path_factory.mktemp("resolve")
    return lambda name: read_pipeline(compile_pipeline(name, folder / f"{name}.yaml"))


def test_everything_but_the_run_itself_is_filled_in(pipeline: Callable[[str], Pipeline], database_url: str) -> None:
    loop = pipeline("rlhf")
    values = resolve(loop, {"seed": 3}, database_url)
    assert set(loop.parameters) - set(values) == {"run_id", "checkpoint_root"}
    assert values["seed"] == 3
    codes = {values[f"{verb}_code"] for verb in VERBS if verb != "record_run"}
    assert len(codes) == len(VERBS) - 1, "each step has a digest of its own code"
    with connect(database_url) as connection:
        assert values["store_id"] == store_id(connection)
        assert values["feedback_watermark"] == feedback_watermark(connection)
    record = values["parameters"]
    assert record["seed"] == 3 and record["ppo_optimize_code"] == values["ppo_optimize_code"]


def test_a_pipeline_that_reads_no_feedback_needs_no_database(pipeline: Callable[[str], Pipeline]) -> None:
    values = resolve(pipeline("rlhf_from_preferences"), {}, "")
    assert "store_id" not in values and "feedback_watermark" not in values


def test_local_inputs_become_absolute(
    pipeline: Callable[[str], Pipeline], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = "".join(f'{{"prompt": "What is {number}?"}}\n' for number in range(40))
    Path("prompts.jsonl").write_text(lines)
    Path("model").mkdir()
    parts = {"reward_model": 1.0, "classifier:model#toxic": -1.0, "classifier:org/name": 0.5}
    given = {"prompt_dataset": "prompts.jsonl", "large_model_reference": "model", "reward_weights": parts}
    values = settings(pipeline("rlhf"), given)
    assert values["prompt_dataset"] == str(tmp_path / "prompts.jsonl")
    assert values["large_model_reference"] == str(tmp_path / "model")
    assert values["preference_dataset"] == "packaged:example-feedback"
    assert list(values["reward_weights"]) == [
        "reward_model", f"classifier:{tmp_path / 'model'}#toxic", "classifier:org/name"
    ]  # fmt: skip
    assert list(local_inputs(values)) == ["--prompt-dataset", "--large-model-reference", "--reward-weights"]
    assert local_inputs(settings(pipeline("rlhf"), {})) == {}


@pytest.mark.parametrize(
    ("changed", "digest"),
    [
        ("prompts.jsonl", "datasets_digest"),
        ("policy/config.json", "policy_digest"),
        ("encoder/config.json", "encoder_digest"),
        ("reward/config.json", "reward_base_digest"),
        ("classifier/config.json", "classifiers_digest"),
    ],
)
def test_a_file_that_changed_in_its_place_changes_one_digest(
    pipeline: Callable[[str], Pipeline], tmp_path: Path, changed: str, digest: str
) -> None:
    for name in ("policy", "encoder", "reward", "classifier"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "prompts.jsonl").write_text("{}\n")
    values: dict[str, Any] = {
        "prompt_dataset": str(tmp_path / "prompts.jsonl"),
        "preference_dataset": "packaged:example-feedback",
        "eval_dataset": "",
        "large_model_reference": str(tmp_path / "policy"),
        "encoder_reference": str(tmp_path / "encoder"),
        "reward_model_reference": str(tmp_path / "reward"),
        "reward_weights": {f"classifier:{tmp_path / 'classifier'}#toxic": -1.0},
    }
    classic = pipeline("rlhf_from_preferences")

    def digests() -> dict[str, Any]:
        filled = filled_in(classic, values, "")
        return {name: value for name, value in filled.items() if name != "parameters"}

    before = digests()
    assert digests() == before
    (tmp_path / changed).write_text('{"a": 1}\n')
    after = digests()
    assert [name for name in after if after[name] != before[name]] == [digest]


def test_the_digest_of_datasets_covers_the_evaluation_prompts_that_are_really_read(
    pipeline: Callable[[str], Pipeline],
) -> None:
    def digest(prompt_dataset: str, eval_dataset: str) -> str:
        given = {"prompt_dataset": prompt_dataset, "preference_dataset": "", "eval_dataset": eval_dataset}
        return str(filled_in(pipeline("rlhf_from_preferences"), given, "")["datasets_digest"])

    assert digest("packaged:prompts", "") == digest("packaged:prompts", "packaged:test-prompts")
    assert digest("packaged:example-feedback", "") != digest("packaged:example-feedback", "packaged:test-prompts")


def test_models_that_are_no_folders_have_no_digest(pipeline: Callable[[str], Pipeline]) -> None:
    values = resolve(pipeline("rlhf_from_preferences"), {}, "")
    assert [values[f"{name}_digest"] for name in ("policy", "encoder", "reward_base", "classifiers")] == [""] * 4


def test_a_missing_input_file_is_named(pipeline: Callable[[str], Pipeline], tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match=f"--prompt-dataset: no file at {tmp_path / 'x.jsonl'}"):
        settings(pipeline("rlhf"), {"prompt_dataset": str(tmp_path / "x.jsonl")})
