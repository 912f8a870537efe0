"""The verdict, the report and its short form are written from the files of an evaluation."""

import json
from pathlib import Path
from typing import Any

import pytest

from preflow.errors import PreflowError
from preflow.evaluation.verdict import PromotionConfig
from preflow.promotion import check, promote
from preflow.rows import write_rows
from tests.preflow.report.conftest import evaluation, make_summary, update


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """An evaluation of twelve prompts that the tuned model won, and the files to write."""
    rows = [evaluation(number) for number in range(12)]
    folder = tmp_path / "evaluations"
    folder.mkdir()
    write_rows(folder / "evaluations.jsonl", [*rows, evaluation(0, temperature=0.7)])
    (folder / "summary.json").write_text(json.dumps(make_summary(rows)))
    (tmp_path / "log.jsonl").write_text(json.dumps(update(1)) + "\n")
    outputs = {name: tmp_path / name for name in ("verdict_out", "report_out", "markdown_out")}
    return {"evaluations": folder, "training_log": tmp_path / "log.jsonl", **outputs}


def test_files_say_what_is_returned(files: dict[str, Path]) -> None:
    promoted, reason = promote(**files, config=PromotionConfig())
    assert promoted
    written = json.loads(files["verdict_out"].read_text())
    assert (written["promoted"], written["lead"], written["reason"]) == (True, "label_score", reason)
    assert len(written["reasons"]) > 5
    assert "Promoted: better than the base model" in files["report_out"].read_text()
    assert "Promoted: better than the base model" in files["markdown_out"].read_text()


def test_another_threshold_gives_another_verdict_on_the_same_files(files: dict[str, Path]) -> None:
    promoted, reason = promote(**files, config=PromotionConfig(max_kl=1.0))
    assert not promoted
    assert "1 are allowed" in reason
    assert "Not promoted" in files["report_out"].read_text()


def test_only_greedy_answers_are_shown_side_by_side(files: dict[str, Path]) -> None:
    promote(**files, config=PromotionConfig())
    assert files["report_out"].read_text().count('class="example"') == 12


@pytest.mark.parametrize("wrong", [{"min_win_rate": 1.5}, {"max_kl": -1.0}])
def test_a_threshold_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PreflowError, match=f"`{next(iter(wrong))}`: .* given; it must be"):
        check({"min_win_rate": 0.5, "max_kl": 10.0, **wrong})
