"""From what was typed to complete parameters."""

from pathlib import Path
from typing import Any

import pytest

from launch.runs.folder import read_json
from launch.spec import read_pipeline
from launch.values import complete
from preflow.errors import PreflowError


def test_defaults_are_filled_in_with_their_types(small_pipeline: Path) -> None:
    values = complete(read_pipeline(small_pipeline), {"text": "x"})
    assert values == {"text": "x", "steps": 3, "mode": "", "weights": {"relevance": 1.0}}
    assert isinstance(values["steps"], int)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stepz": 1}, "did you mean --steps?"),
        ({"zzz": 1}, "pipeline small has no parameter --zzz; `preflow run --help` lists them"),
        ({"steps": "3"}, "--steps must be a whole number; got '3'"),
        ({"steps": True}, "--steps must be a whole number"),
        ({"weights": [1]}, "--weights must be a JSON object, such as"),
        ({"text": "{{$.outputs}}"}, "--text holds '{{$', which KFP would replace"),
    ],
)
def test_what_does_not_fit_is_refused(small_pipeline: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(PreflowError) as caught:
        complete(read_pipeline(small_pipeline), given)
    assert message in str(caught.value)


def test_a_parameter_file_must_hold_an_object(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text("[1]")
    with pytest.raises(PreflowError, match="a JSON object was expected, got list"):
        read_json(path)
