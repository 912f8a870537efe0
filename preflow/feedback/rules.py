"""The rules that a feedback row keeps, whoever writes it."""

import math
from datetime import UTC
from typing import Any

from preflow.feedback.fields import check_prompt, nonblank, wrong
from preflow.identity import prompt_id
from preflow.rows import Feedback, Preference

_SINGLE_RESPONSE = ("thumbs", "rating", "correction")


def check_feedback(row: Feedback, where: str) -> None:
    """Checks that a row is complete and that its value suits its kind.

    thumbs (one response): -1 or 1. rating (one response): a finite number. correction (one response): a text that is
    not blank. pairwise (two responses): 0, 1, or null for a tie. ranking (two or more): every index once, best first.
    `shown_order`, if given, holds every index once. `created_at` is an ISO 8601 time; without a zone it is UTC.

    Args:
        row: The feedback.
        where: Names the row in an error, such as `feedback.jsonl, line 3`.

    Raises:
        PreflowError: A rule is broken; the message names `where`, the field and what was expected.
    """
    check_identity(row, where)
    for field in ("feedback_id", "labeler"):
        nonblank(getattr(row, field), field, where)
    for number, response in enumerate(row.responses):
        nonblank(response.text, f"responses.{number}.text", where)
    count, value = len(row.responses), row.value
    if row.kind in _SINGLE_RESPONSE and count != 1:
        raise wrong(where, "responses", f"a {row.kind} judges one response, got {count}")
    if row.kind == "pairwise" and count != 2:
        raise wrong(where, "responses", f"a pairwise comparison has two responses, got {count}")
    if row.kind == "ranking" and count < 2:
        raise wrong(where, "responses", f"a ranking has two or more responses, got {count}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits, expected = {
        "thumbs": (number and value in (-1, 1), "-1 or 1"),
        "rating": (number and _is_finite(value), "a finite number"),
        "correction": (isinstance(value, str) and bool(value.strip()), "the corrected text"),
        "pairwise": (value is None or (isinstance(value, int) and value in (0, 1)), "0, 1, or null for a tie"),
        "ranking": (_is_order(value, count), f"the indices 0 to {count - 1}, each once, best first"),
    }[row.kind]
    if not fits:
        raise wrong(where, "value", f"the value of a {row.kind} is {expected}, got {value!r}")
    if row.shown_order is not None and not _is_order(row.shown_order, count):
        raise wrong(where, "shown_order", f"must hold the indices 0 to {count - 1}, each once, got {row.shown_order}")
    try:
        row.judged_at.astimezone(UTC)
    except (ValueError, OverflowError):  # the second where it is before year 1 or after 9999 in UTC
        raise wrong(where, "created_at", f"must be an ISO 8601 time, got {row.created_at!r}") from None


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number larger than any float
        return False


def check_identity(row: Feedback | Preference, where: str) -> None:
    """Checks that a row's prompt can be answered and that `prompt_id` is its id.

    Raises:
        PreflowError: It is not; the message names `where` and the field.
    """
    check_prompt(row.prompt, "prompt", where)
    if row.prompt_id != prompt_id(row.prompt):
        raise wrong(where, "prompt_id", f"is not the id of this prompt, which is {prompt_id(row.prompt)}")


def _is_order(value: Any, count: int) -> bool:
    return isinstance(value, list) and sorted(value) == list(range(count))
