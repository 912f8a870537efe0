"""A finished run goes to the database with its figures, rows and answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from preflow.errors import PreflowError
from preflow.recording import record_run
from preflow.rows import Answer, Evaluation, write_rows
from preflow.store import connect, list_runs


def _record(url: str, evaluations: Path) -> None:
    settings: dict[str, Any] = {
        **{"database_url": url, "run_id": "r1", "pipeline": "rlhf", "parameters": {"seed": 1}},
        **{"evaluations": evaluations, "report_uri": "r", "policy_uri": "p", "feedback_watermark": "7"},
        "verdict": evaluations / "verdict.json",
    }
    record_run(**settings)


def test_the_figures_of_the_summary_are_the_metrics_of_the_record(database_url: str, tmp_path: Path) -> None:
    answer = Answer(response="Water.", tokens=4, finish_reason="stop", scores={"relevance": 0.5})
    row = Evaluation(prompt_id="p", prompt="Dew?", answers={"base": answer, "tuned": answer})
    write_rows(tmp_path / "evaluations.jsonl", [row])
    figures = {"kl": 2.5, "win_rates": {"label_score": {"low": 0.6}}, "baseline_longer": None}
    (tmp_path / "summary.json").write_text(json.dumps(figures))
    verdict = {"promoted": True, "lead": "label_score", "reason": "better", "reasons": ["holds: it wins"]}
    (tmp_path / "verdict.json").write_text(json.dumps(verdict))
    _record(database_url, tmp_path)
    with connect(database_url) as connection:
        [run] = list_runs(connection)
    assert (run.run_id, run.metrics, run.feedback_watermark, run.promoted) == (
        "r1",
        {**figures, "verdict": verdict},
        "7",
        True,
    )
    assert run.promotion_reason == "better"


def test_a_folder_without_a_summary_is_named(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match="summary.json"):
        _record(database_url, tmp_path)
