"""The list of runs, and two of them side by side."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from launch.runs.folder import new_run_folder
from launch.runs.listing import find_run, print_comparison, print_runs
from preflow.errors import PreflowError


def _run(home: Path, name: str, parameters: dict[str, Any], summary: dict[str, Any], code: str = "c1") -> None:
    folder = home / "runs" / name
    folder.mkdir(parents=True)
    (folder / "parameters.json").write_text(json.dumps(parameters))
    (folder / "manifest.json").write_text(json.dumps({"resolved": {"code_version": code}}))
    (folder / "summary.json").write_text(json.dumps(summary))


def _console() -> Console:
    return Console(file=io.StringIO(), width=120)


def _text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_two_runs_of_one_second_get_different_folders(tmp_path: Path) -> None:
    names = [new_run_folder(tmp_path, "rlhf", "20261120-131501").name for _ in range(3)]
    assert names == ["rlhf-20261120-131501", "rlhf-20261120-131501-2", "rlhf-20261120-131501-3"]


def test_a_run_is_found_by_the_start_of_its_id(tmp_path: Path) -> None:
    for name in ("rlhf-1", "rlhf-12", "rlhf-2"):
        _run(tmp_path, name, {}, {})
    assert find_run(tmp_path, "rlhf-2").name == "rlhf-2"
    assert find_run(tmp_path, "rlhf-1").name == "rlhf-1", "a whole id wins over longer ones"
    with pytest.raises(PreflowError, match="'rlhf' fits 3 runs"):
        find_run(tmp_path, "rlhf")
    with pytest.raises(PreflowError, match="no run starts with 'x'"):
        find_run(tmp_path, "x")


def test_the_list_shows_unfinished_runs_too(tmp_path: Path) -> None:
    _run(tmp_path, "rlhf-1", {}, {"status": "succeeded", "win_rate": 0.79, "promoted": True, "seconds": {"a": 2.0}})
    (tmp_path / "runs" / "rlhf-2").mkdir()
    console = _console()
    print_runs(tmp_path, console)
    assert "0.79" in _text(console)
    assert "unfinished" in _text(console)


def test_an_empty_home_has_no_runs(tmp_path: Path) -> None:
    console = _console()
    print_runs(tmp_path, console)
    assert "no runs yet" in _text(console)


def test_comparison_shows_only_parameters_that_differ_and_metrics_of_both(tmp_path: Path) -> None:
    rates = {"coherence": {"win_rate": 0.625}}
    _run(
        tmp_path,
        "rlhf-1",
        {"kl_coeff": 0.05, "seed": 0},
        {"win_rate": 0.5, "temperatures": {"0": rates}, "tuned": {"bleu": 1.5}},
    )
    _run(tmp_path, "rlhf-2", {"kl_coeff": 0.1, "seed": 0}, {"win_rate": 0.75}, code="c2")
    console = _console()
    print_comparison(tmp_path, "rlhf-1", "rlhf-2", console)
    text = _text(console)
    for word in ("kl_coeff", "0.05", "0.1", "c1", "c2", "0.75", "win rate by coherence at 0", "0.625", "tuned bleu"):
        assert word in text
    assert "seed" not in text
