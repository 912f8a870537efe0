"""Judgements of any kind as comparisons of two answers to the same prompt."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import TypeAlias

from preflow.identity import digest_json, normalise
from preflow.rows import Feedback, FeedbackSource, PromptText

_SMALLEST_RATING_GAP = 1.0
_Rated: TypeAlias = tuple[float, Feedback]


@dataclass(frozen=True)
class Comparison:
    """One labeler's word on two answers.

    Attributes:
        prompt_id: The id of their prompt.
        prompt: The prompt.
        better: The better answer, or either of them at a tie.
        worse: The other one.
        tie: Whether they are equally good.
        weight: 1, or 1/C(K,2) for a pair out of a ranking of K, so that a ranking weighs what one comparison does.
        group_id: The same for pairs out of one ranking, or out of one labeler's ratings of a prompt.
        labeler: Who says so.
        source: What kind of labeler.
        feedback_ids: The judgements it comes from.
        judged_at: When the last of them was given.
    """

    prompt_id: str
    prompt: PromptText
    better: str
    worse: str
    tie: bool
    weight: float
    group_id: str
    labeler: str
    source: FeedbackSource
    feedback_ids: tuple[str, ...]
    judged_at: datetime


def comparisons(rows: Iterable[Feedback]) -> list[Comparison]:
    """All comparisons that feedback holds; their order does not depend on the order of the rows.

    pairwise: one, a null value is a tie. ranking of K: C(K,2). correction: the corrected text is better than the
    original. thumbs and rating: one labeler's words on answers to one prompt, up against down and ratings at least 1
    apart; of two words on the same answer the later counts. Scales differ between people, so words of different
    labelers are never compared.
    """
    rows = sorted(rows, key=lambda row: row.feedback_id)
    found = [one for row in rows for one in _of_row(row)]
    for given in _single_answers(rows).values():
        found += _across(given)
    return found


def _of_row(row: Feedback) -> Iterator[Comparison]:
    texts = [response.text for response in row.responses]
    if row.kind == "pairwise":
        better = row.value if isinstance(row.value, int) else 0
        yield _comparison([row], texts[better], texts[1 - better], tie=row.value is None)
    elif row.kind == "ranking" and isinstance(row.value, list):
        weight = 2 / (len(texts) * (len(texts) - 1))
        for better, worse in combinations(row.value, 2):
            yield _comparison([row], texts[better], texts[worse], weight=weight)
    elif row.kind == "correction":
        yield _comparison([row], str(row.value), texts[0])


def _single_answers(rows: Sequence[Feedback]) -> dict[tuple[str, str, str], list[_Rated]]:
    """The latest thumbs and ratings by kind, labeler and prompt, one for each answer."""
    latest: dict[tuple[str, str, str], dict[str, _Rated]] = defaultdict(dict)
    for row in sorted(rows, key=_moment):
        if row.kind in ("thumbs", "rating") and isinstance(row.value, int | float):
            answers = latest[row.kind, row.labeler, row.prompt_id]
            answers[normalise(row.responses[0].text)] = (float(row.value), row)
    return {key: list(answers.values()) for key, answers in sorted(latest.items())}


def _across(given: Sequence[_Rated]) -> Iterator[Comparison]:
    """Pairs of one labeler's words on one prompt. Thumbs that differ are 2 apart, so one rule serves both."""
    for left, right in combinations(given, 2):
        (high, better), (low, worse) = (left, right) if left[0] >= right[0] else (right, left)
        if high - low >= _SMALLEST_RATING_GAP:
            group = digest_json([better.kind, better.labeler, better.prompt_id])
            yield _comparison([better, worse], better.responses[0].text, worse.responses[0].text, group_id=group)


def _comparison(
    rows: Sequence[Feedback],
    better: str,
    worse: str,
    *,
    tie: bool = False,
    weight: float = 1.0,
    group_id: str | None = None,
) -> Comparison:
    first = rows[0]
    return Comparison(
        prompt_id=first.prompt_id,
        prompt=first.prompt,
        better=better,
        worse=worse,
        tie=tie,
        weight=weight,
        group_id=group_id or first.feedback_id,
        labeler=first.labeler,
        source=first.source,
        feedback_ids=tuple(sorted(row.feedback_id for row in rows)),
        judged_at=max(_moment(row) for row in rows),
    )


def _moment(row: Feedback) -> datetime:
    moment = datetime.fromisoformat(row.created_at)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
