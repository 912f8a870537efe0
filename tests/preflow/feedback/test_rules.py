"""Feedback that breaks a rule is refused, by place and field."""

from typing import Any

import pytest

from preflow.errors import PreflowError
from preflow.feedback.rules import check_feedback
from preflow.identity import prompt_id
from preflow.rows import Feedback

ONE, TWO, THREE = ([{"text": str(number)} for number in range(count)] for count in (1, 2, 3))


def feedback(**changes: Any) -> Feedback:
    fields: dict[str, Any] = {
        "feedback_id": "f1",
        "kind": "thumbs",
        "prompt_id": prompt_id("What is dew?"),
        "prompt": "What is dew?",
        "responses": ONE,
        "value": 1,
        "labeler": "ada",
        "source": "human",
        "created_at": "2026-01-02T03:04:05Z",
    }
    return Feedback(**(fields | changes))


@pytest.mark.parametrize(
    ("kind", "responses", "value"),
    [
        ("thumbs", ONE, 1),
        ("thumbs", ONE, -1),
        ("rating", ONE, 4),
        ("rating", ONE, 3.5),
        ("correction", ONE, "Better."),
        ("pairwise", TWO, 0),
        ("pairwise", TWO, None),
        ("ranking", THREE, [2, 0, 1]),
    ],
)
def test_sound_feedback_passes(kind: str, responses: Any, value: Any) -> None:
    order = list(range(len(responses)))[::-1]
    check_feedback(feedback(kind=kind, responses=responses, value=value, shown_order=order), "here")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"value": 0}, "'value': the value of a thumbs is -1 or 1, got 0"),
        ({"value": None}, "a thumbs is -1 or 1"),
        ({"responses": TWO}, "'responses': a thumbs judges one response, got 2"),
        ({"kind": "rating", "value": "good"}, "a finite number"),
        ({"kind": "rating", "value": float("nan")}, "a finite number"),
        ({"kind": "rating", "value": 10**400}, "a finite number"),
        ({"kind": "correction", "value": "  "}, "the corrected text"),
        ({"kind": "pairwise", "value": 0}, "two responses, got 1"),
        ({"kind": "pairwise", "responses": TWO, "value": 2}, "0, 1, or null"),
        ({"kind": "pairwise", "responses": TWO, "value": 0.0}, "0, 1, or null"),
        ({"kind": "ranking", "responses": ONE, "value": [0]}, "two or more responses"),
        ({"kind": "ranking", "responses": THREE, "value": [0, 1]}, "indices 0 to 2"),
        ({"kind": "ranking", "responses": TWO, "value": [0, 0]}, "indices 0 to 1"),
        ({"shown_order": [1]}, "'shown_order': must hold the indices 0 to 0"),
        ({"labeler": " "}, "'labeler': is empty"),
        ({"feedback_id": ""}, "'feedback_id': is empty"),
        ({"prompt_id": "p1"}, "'prompt_id': is not the id of this prompt"),
        ({"responses": [{"text": " "}]}, "'responses.0.text': is empty"),
        ({"created_at": "yesterday"}, "'created_at': must be an ISO 8601 time"),
        ({"created_at": "9999-12-31T23:59:59-14:00"}, "'created_at': must be an ISO 8601 time"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "'created_at': must be an ISO 8601 time"),
    ],
)
def test_a_broken_rule_is_named_by_place_and_field(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(PreflowError, match=f"^here: field .*{says}"):
        check_feedback(feedback(**changes), "here")
