"""Accuracy on pairs with known margins."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.models import load_encoder
from preflow.reward.accuracy import judge_pairs
from preflow.rows import Preference
from preflow.scoring.registry import encoding


class Marks:
    """Gives each answer the number it begins with, or 0."""

    def score(self, prompts: Sequence[Any], responses: Sequence[str]) -> torch.Tensor:
        return torch.tensor([float(text[0]) if text[0].isdigit() else 0.0 for text in responses])


@pytest.fixture
def judge(make_pairs: Callable[..., list[Preference]], encoder_folder: Path) -> Callable[..., dict[str, Any]]:
    def run(*pairs: tuple[str, str], prompt_ids: Sequence[str] = ()) -> dict[str, Any]:
        rows = [
            row.model_copy(update={"chosen": chosen.format(row.prompt), "rejected": rejected.format(row.prompt)})
            for row, (chosen, rejected) in zip(make_pairs(len(pairs), "validation"), pairs, strict=True)
        ]
        if prompt_ids:
            rows = [row.model_copy(update={"prompt_id": name}) for row, name in zip(rows, prompt_ids, strict=True)]
        return judge_pairs(Marks(), rows, encoding(load_encoder(str(encoder_folder))), seed=0)  # type: ignore[arg-type]

    return run


def test_ties_count_half(judge: Callable[..., dict[str, Any]]) -> None:
    found = judge(("3 it", "1 is"), ("2 it", "1 is"), ("1 it", "4 is"), ("2 it", "2 is"))
    assert found["accuracy"] == (1 + 1 + 0 + 0.5) / 4
    assert found["accuracy_low"] <= found["accuracy"] <= found["accuracy_high"]


def test_the_longer_answer_is_the_one_with_more_words(judge: Callable[..., dict[str, Any]]) -> None:
    found = judge(("1 it is that", "1 it"), ("1 waterwaterwater", "1 it is"), ("1 it", "1 is"), ("1 a b", "1 a"))
    assert found["baseline_longer"] == (1 + 0 + 0.5 + 1) / 4


def test_the_more_similar_answer_is_the_nearer_one(judge: Callable[..., dict[str, Any]]) -> None:
    assert judge(("{}", "no"))["baseline_similarity"] == 1.0
    assert judge(("no", "{}"))["baseline_similarity"] == 0.0
    assert judge(("no", "no"))["baseline_similarity"] == 0.5


def test_the_confusion_matrix_tells_which_side_was_better(judge: Callable[..., dict[str, Any]]) -> None:
    right = judge(*[("2 it", "1 is")] * 7)
    (first_as_first, first_as_second), (second_as_first, second_as_second) = right["confusion"]
    assert (first_as_second, second_as_first) == (0, 0)
    assert (first_as_first, second_as_second) == (4, 3), "of seven pairs four show the preferred answer first"
    assert all(math.isfinite(threshold) for threshold in right["roc"]["threshold"])
    assert right["roc"]["tpr"][-1] == right["roc"]["fpr"][-1] == 1.0
    assert max(true - false for true, false in zip(right["roc"]["tpr"], right["roc"]["fpr"], strict=True)) == 1.0
    wrong = judge(*[("1 it", "2 is")] * 7)
    assert wrong["confusion"] == [[0, 4], [3, 0]]


def test_the_interval_is_over_prompts(judge: Callable[..., dict[str, Any]]) -> None:
    pairs = [("2 it", "1 is")] * 4 + [("1 it", "2 is")] * 4
    apart = judge(*pairs)
    together = judge(*pairs, prompt_ids=["a"] * 4 + ["b"] * 4)
    assert together["accuracy"] == apart["accuracy"] == 0.5
    assert (together["accuracy_low"], together["accuracy_high"]) == (0.0, 1.0)
    assert apart["accuracy_low"] > 0


def test_one_pair_has_no_curve(judge: Callable[..., dict[str, Any]]) -> None:
    found = judge(("2 it", "1 is"))
    assert found["roc"] == {"fpr": [], "tpr": [], "threshold": []}
    assert sum(map(sum, found["confusion"])) == 1
