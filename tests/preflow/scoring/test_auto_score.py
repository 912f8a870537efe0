"""Scoring writes the same scores to the log and to the artifact, and does nothing twice."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preflow import store
from preflow.errors import PreflowError
from preflow.identity import prompt_id
from preflow.rows import Generation, Prompt, ScoredGeneration, read_rows, write_rows
from preflow.scoring.auto_score import auto_score

PROMPT = "Which way is east?"
MODULE = "preflow.scoring.auto_score"


class Encoder:
    """Knows two directions, and counts how many texts it encoded."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, texts: list[str], **_: Any) -> Any:
        self.encoded += len(texts)
        return np.array([[0.6, 0.8] if "northeast" in text.lower() else [1.0, 0.0] for text in texts])


def generation(sample: int, response: str, finish_reason: Any, tokens: int) -> Generation:
    return Generation(
        generation_id=f"00000000-0000-5000-8000-00000000000{sample}", prompt_id=prompt_id(PROMPT), prompt=PROMPT,
        sample=sample, response=response, model_name="m", model_digest="d", prompt_tokens=5, completion_tokens=tokens,
        generation_time=0.1, finish_reason=finish_reason, sampling={"seed": 0},
    )  # fmt: skip


ROWS = [generation(0, "Go east now.", "stop", 4), generation(1, "Go northeast.", "length", 9)]


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Encoder:
    encoder = Encoder()
    monkeypatch.setattr(sys.modules[MODULE], "load_encoder", lambda reference: encoder)
    monkeypatch.setattr(sys.modules[MODULE], "model_digest", lambda reference: f"digest of {reference}")
    return encoder


@pytest.fixture
def score(encoder: Encoder, database_url: str, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    write_rows(tmp_path / "generations", ROWS)
    write_rows(tmp_path / "prompts", [Prompt(prompt_id=prompt_id(PROMPT), prompt=PROMPT, split="train")])
    with store.connect(database_url) as connection:
        store.insert_generations(connection, ROWS)

    def score(**given: Any) -> dict[str, Any]:
        made: dict[str, Any] = {
            "generations": tmp_path / "generations",
            "prompts": tmp_path / "prompts",
            "encoder": "e",
            "label_weights": {"relevance": 3.0, "ended_properly": 1.0},
            "monitors": ["reference_similarity"],
            "database_url": database_url,
            "output": tmp_path / "scored",
        }
        return auto_score(**{**made, **given})

    return score


def test_scores_are_worked_out_and_summed_up(score: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    summary = score()
    first, second = read_rows(tmp_path / "scored", ScoredGeneration)
    assert first.scores == {
        "relevance": pytest.approx(math.tanh(1 / 0.4)),
        "ended_properly": 1.0,
        "reference_similarity": None,
    }
    assert first.score_reasons == {"reference_similarity": "no reference"}
    assert [first.reward_score, second.reward_score] == pytest.approx(
        [(3 * math.tanh(1 / 0.4) + 1) / 4, 3 * math.tanh(0.6 / 0.4) / 4]
    )
    assert summary["mean_relevance"] == pytest.approx((math.tanh(1 / 0.4) + math.tanh(0.6 / 0.4)) / 2)
    assert summary["mean_reference_similarity"] is None
    assert summary["length_rank_correlation"] == pytest.approx(-1.0)


def test_scores_are_not_worked_out_twice(
    score: Callable[..., dict[str, Any]], encoder: Encoder, tmp_path: Path
) -> None:
    first = score()
    rows, encoded = read_rows(tmp_path / "scored", ScoredGeneration), encoder.encoded
    assert score() == first
    assert (read_rows(tmp_path / "scored", ScoredGeneration), encoder.encoded) == (rows, encoded)
    score(encoder="other")
    assert encoder.encoded > encoded


def test_overlapping_roles_are_refused_before_anything_is_read(score: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(PreflowError, match="`monitors`: 'relevance' is in `label_weights` too"):
        score(monitors=["relevance"], generations=Path("/nowhere"))
