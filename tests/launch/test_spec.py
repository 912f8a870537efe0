"""What a compiled pipeline says about itself."""

from pathlib import Path

import pytest

from launch.spec import read_pipeline
from preflow.errors import PreflowError


def test_a_step_in_a_nested_graph_is_wired_to_the_root(small_pipeline: Path) -> None:
    steps = {step.name: step for step in read_pipeline(small_pipeline).steps}
    assert list(steps) == ["prepare", "train", "judge", "record"]
    assert steps["train"].wires == {"steps": "steps", "mode": "mode"}
    assert steps["train"].arguments({"steps": 3, "mode": "x", "text": "y"}) == {"steps": 3, "mode": "x"}


def test_what_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\n")
    with pytest.raises(PreflowError, match="not a compiled pipeline"):
        read_pipeline(path)
