"""From what was typed to complete parameters."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.parameters import complete, parse, read_parameters
from pipelines.resolve import absolute, code_version, digest_inputs
from pipelines.spec import read_pipeline
from preflow.errors import PreflowError


def test_defaults_are_filled_in_with_their_types(small_pipeline: Path) -> None:
    values = complete(read_pipeline(small_pipeline), {"text": "x"})
    assert values == {"text": "x", "steps": 3, "mode": "", "weights": {"relevance": 1.0}}
    assert isinstance(values["steps"], int)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stepz": 1}, "did you mean 'steps'?"),
        ({"zzz": 1}, "pipeline small has no parameter 'zzz'; `preflow run --help` lists them"),
        ({"steps": "3"}, "parameter 'steps' must be a whole number; got '3'"),
        ({"steps": True}, "parameter 'steps' must be a whole number"),
        ({"weights": [1]}, "parameter 'weights' must be a JSON object, such as"),
        ({"text": "{{$.outputs}}"}, "parameter 'text' holds '{{$', which KFP would replace"),
    ],
)
def test_what_does_not_fit_is_refused(small_pipeline: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(PreflowError) as caught:
        complete(read_pipeline(small_pipeline), given)
    assert message in str(caught.value)


def test_texts_from_a_command_line_are_typed(small_pipeline: Path) -> None:
    entries = read_pipeline(small_pipeline).parameters
    assert parse(entries["text"], "3") == "3"
    assert parse(entries["steps"], "3") == 3
    assert parse(entries["weights"], '{"relevance": 2}') == {"relevance": 2}
    with pytest.raises(PreflowError, match="parameter 'weights' must be a JSON object"):
        parse(entries["weights"], "relevance=2")


def test_a_parameter_file_must_hold_an_object(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text("[1]")
    with pytest.raises(PreflowError, match="a JSON object of parameters was expected, got list"):
        read_parameters(path)


def test_local_inputs_become_absolute_and_are_digested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.jsonl").write_text("{}\n")
    Path("model").mkdir()
    Path("model", "config.json").write_text("{}")
    given = {
        "prompt_dataset": "prompts.jsonl",
        "preference_dataset": "packaged:x",
        "eval_dataset": "",
        "large_model_reference": "model",
        "reward_weights": {"reward_model": 1.0, "classifier:model#toxic": -1.0, "classifier:org/name": 0.5},
    }
    values = absolute(given)
    assert values["reward_weights"] == {
        "reward_model": 1.0, f"classifier:{tmp_path / 'model'}#toxic": -1.0, "classifier:org/name": 0.5
    }  # fmt: skip
    assert values["prompt_dataset"] == str(tmp_path / "prompts.jsonl")
    assert values["large_model_reference"] == str(tmp_path / "model")
    assert values["preference_dataset"] == "packaged:x"
    before = digest_inputs(values)
    assert set(before) == {"prompt_dataset", "large_model_reference", "reward_weights"}
    Path("prompts.jsonl").write_text('{"a": 1}\n')
    assert digest_inputs(values)["prompt_dataset"] != before["prompt_dataset"]
    assert digest_inputs(values)["large_model_reference"] == before["large_model_reference"]


def test_a_classifier_that_changed_in_its_place_has_another_digest(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    values = {"reward_weights": {"reward_model": 1.0, f"classifier:{tmp_path}#toxic": -1.0}}
    before = digest_inputs(values)
    assert digest_inputs(values) == before
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert digest_inputs(values)["reward_weights"] != before["reward_weights"]


def test_a_reward_without_folders_has_no_digest() -> None:
    assert digest_inputs({"reward_weights": {"reward_model": 1.0, "classifier:org/name": 0.5}}) == {}


def test_a_missing_input_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match=f"prompt_dataset: no file at {tmp_path / 'x.jsonl'}"):
        absolute({"prompt_dataset": str(tmp_path / "x.jsonl")})


def test_the_code_version_is_stable() -> None:
    assert code_version() == code_version()
