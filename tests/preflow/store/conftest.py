"""A migrated database and rows to put into it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from preflow.identity import generation_id
from preflow.rows import Feedback, Generation, ScoredGeneration
from preflow.store import Connection, connect


@pytest.fixture
def store(database_url: str) -> Iterator[Connection]:
    """A connection to a fresh store."""
    with connect(database_url) as connection:
        yield connection


@pytest.fixture
def make_generation() -> Callable[..., Generation]:
    """Makes the generation of a sample number; other fields by keyword."""

    def make(sample: int = 0, **changes: Any) -> Generation:
        fields: dict[str, Any] = {
            "generation_id": generation_id("p1", "m1", {"temperature": 0.7}, sample),
            "prompt_id": "p1",
            "prompt": "What is dew?",
            "sample": sample,
            "response": f"Water, {sample}.",
            "model_name": "tiny",
            "model_digest": "m1",
            "prompt_tokens": 5,
            "completion_tokens": 4,
            "generation_time": 0.1,
            "finish_reason": "stop",
            "sampling": {"temperature": 0.7, "seed": 1},
        }
        return Generation(**(fields | changes))

    return make


@pytest.fixture
def make_scored(make_generation: Callable[..., Generation]) -> Callable[..., ScoredGeneration]:
    """Makes the scored generation of a sample number; other fields by keyword."""

    def make(sample: int = 0, **changes: Any) -> ScoredGeneration:
        fields: dict[str, Any] = make_generation(sample).model_dump() | {
            "scores": {"length": 0.25, "similarity": None},
            "score_reasons": {"similarity": "no reference"},
            "reward_score": 0.25,
            "scorer_digest": "s1",
        }
        return ScoredGeneration(**(fields | changes))

    return make


@pytest.fixture
def make_feedback() -> Callable[..., Feedback]:
    """Makes a thumb up with an id; other fields by keyword."""

    def make(feedback_id: str = "f1", **changes: Any) -> Feedback:
        fields: dict[str, Any] = {
            "feedback_id": feedback_id,
            "kind": "thumbs",
            "prompt_id": "p1",
            "prompt": "What is dew?",
            "responses": [{"text": "Water."}],
            "value": 1,
            "labeler": "ada",
            "source": "human",
            "created_at": "2026-01-02T03:04:05Z",
        }
        return Feedback(**(fields | changes))

    return make
