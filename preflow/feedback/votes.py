"""Judgements of any kind as comparisons of two answers to the same prompt, and the votes that they add up to."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import TypeAlias

from preflow.identity import digest_json, normalise
from preflow.rows import Feedback, FeedbackSource, PromptText

_SMALLEST_RATING_GAP = 1.0
_Rated: TypeAlias = tuple[float, Feedback]


@dataclass(frozen=True)
class Comparison:
    """One labeler's judgement of two answers.

    Attributes:
        prompt_id: Id of the prompt that both answer.
        prompt: The prompt.
        better: The better answer; in a tie, either of the two.
        worse: The other answer.
        tie: Whether both are equally good.
        group_id: Shared by the pairs of one ranking, and by the pairs of one labeler's ratings of a prompt.
        labeler: The labeler.
        source: The kind of labeler.
        feedback_ids: Ids of the feedback rows that it comes from.
        judged_at: Time of the latest of those rows.
    """

    prompt_id: str
    prompt: PromptText
    better: str
    worse: str
    tie: bool
    group_id: str
    labeler: str
    source: FeedbackSource
    feedback_ids: tuple[str, ...]
    judged_at: datetime


def comparisons(rows: Iterable[Feedback]) -> list[Comparison]:
    """All comparisons in feedback rows; their order does not depend on the order of the rows.

    pairwise: one comparison, a tie if the value is null. ranking of K answers: C(K,2). correction: the corrected text
    is better than the original. thumbs and rating: one labeler's judgements of answers to one prompt are compared, up
    with down and ratings that differ by 1 or more; if the labeler judged an answer twice, the later judgement counts.
    Scales differ between people, so judgements of different labelers are never compared.
    """
    rows = sorted(rows, key=lambda row: row.feedback_id)
    found = [one for row in rows for one in _of_row(row)]
    for rated in _single_answers(rows).values():
        found += _across(rated)
    return found


def counted_votes(votes: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons of one pair that count: those of people if there are any, and each labeler's latest.

    If a labeler's latest comparisons have the same time, all of them count: rows of an imported file have no time of
    their own, and their one labeler stands for many.
    """
    people = [vote for vote in votes if vote.source != "auto"] or list(votes)
    latest = {vote.labeler: vote.judged_at for vote in sorted(people, key=lambda vote: vote.judged_at)}
    counted = [vote for vote in people if vote.judged_at == latest[vote.labeler]]
    return sorted(counted, key=lambda vote: (vote.feedback_ids, vote.group_id, vote.better, vote.worse))


def votes_for(text: str, votes: Sequence[Comparison]) -> float:
    """The number of votes for one text of a pair, given normalised; a tie is half a vote for each."""
    return sum(0.5 if vote.tie else float(normalise(vote.better) == text) for vote in votes)


def _of_row(row: Feedback) -> Iterator[Comparison]:
    texts = [response.text for response in row.responses]
    if row.kind == "pairwise":
        better = row.value if isinstance(row.value, int) else 0
        yield _comparison([row], texts[better], texts[1 - better], tie=row.value is None)
    elif row.kind == "ranking" and isinstance(row.value, list):
        for better, worse in combinations(row.value, 2):
            yield _comparison([row], texts[better], texts[worse])
    elif row.kind == "correction":
        yield _comparison([row], str(row.value), texts[0])


def _single_answers(rows: Sequence[Feedback]) -> dict[tuple[str, str, str], list[_Rated]]:
    """The thumbs and ratings by kind, labeler and prompt: the latest of each answer."""
    latest: dict[tuple[str, str, str], dict[str, _Rated]] = defaultdict(dict)
    for row in sorted(rows, key=lambda row: row.judged_at):
        if row.kind in ("thumbs", "rating") and isinstance(row.value, int | float):
            answers = latest[row.kind, row.labeler, row.prompt_id]
            answers[normalise(row.responses[0].text)] = (float(row.value), row)
    return {key: list(answers.values()) for key, answers in sorted(latest.items())}


def _across(rated: Sequence[_Rated]) -> Iterator[Comparison]:
    """Pairs of one labeler's judgements of one prompt. Thumbs that differ are 2 apart, so one rule serves both."""
    for left, right in combinations(rated, 2):
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
    group_id: str | None = None,
) -> Comparison:
    first = rows[0]
    return Comparison(
        prompt_id=first.prompt_id,
        prompt=first.prompt,
        better=better,
        worse=worse,
        tie=tie,
        group_id=group_id or first.feedback_id,
        labeler=first.labeler,
        source=first.source,
        feedback_ids=tuple(sorted(row.feedback_id for row in rows)),
        judged_at=max(row.judged_at for row in rows),
    )
