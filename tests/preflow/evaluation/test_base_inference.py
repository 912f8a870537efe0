"""The base model answers validation and test prompts, each at its temperatures."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from preflow.errors import PreflowError
from preflow.evaluation.base_config import BaseInferenceConfig, check
from preflow.evaluation.base_inference import TEMPERATURES, base_inference
from preflow.rows import Reply, read_rows, write_rows
from tests.tiny import questions

pytestmark = pytest.mark.usefixtures("exact")


def run(model: Path, folder: Path, **given: Any) -> tuple[dict[str, Any], list[Reply]]:
    write_rows(folder / "prompts.jsonl", [*questions(4, split="validation"), *questions(4, split="train")])
    write_rows(folder / "eval_prompts.jsonl", questions(5, split="test"))
    summary = base_inference(
        prompts=folder / "prompts.jsonl",
        eval_prompts=folder / "eval_prompts.jsonl",
        model=str(model),
        output=folder / "replies.jsonl",
        config=BaseInferenceConfig(**{"target_sequence_length": 3, **given}),
    )
    return summary, read_rows(folder / "replies.jsonl", Reply)


def test_train_prompts_are_not_answered(policy_folder: Path, tmp_path: Path) -> None:
    summary, replies = run(policy_folder, tmp_path)
    assert Counter(row.split for row in replies) == {"validation": 4 * len(TEMPERATURES), "test": 5 * 2}
    assert {row.temperature for row in replies if row.split == "test"} == {0.0, 0.7}
    assert {row.temperature for row in replies if row.split == "validation"} == set(TEMPERATURES)
    assert summary["replies"] == len(replies)


def test_the_first_prompts_by_id_are_answered(policy_folder: Path, tmp_path: Path) -> None:
    _, replies = run(policy_folder, tmp_path, max_prompts=2, max_validation_prompts=1, temperatures=[0.0])
    assert [row.prompt_id for row in replies if row.split == "test"] == sorted(
        row.prompt_id for row in questions(5, split="test")
    )[:2]
    assert len({row.prompt_id for row in replies if row.split == "validation"}) == 1


@pytest.mark.parametrize(
    ("temperatures", "message"),
    [
        ([0.7], "must hold 0, because the greedy answers decide the headline"),
        ([0.0, -0.5], "must hold no negative number"),
        ([0.0, 0.7, 0.7], "must name each temperature once"),
        (["hot"], "temperatures"),
    ],
)
def test_temperatures_are_checked(temperatures: list[Any], message: str) -> None:
    check({"temperatures": [0.0, 1.0]})
    with pytest.raises(PreflowError, match=message):
        check({"temperatures": temperatures})
