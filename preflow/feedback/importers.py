"""Preference data in any accepted form, as feedback rows.

The forms are told apart by their fields, and one file may mix them. Unknown fields of foreign forms are ignored,
because foreign data has columns of its own; in our own rows they are an error.
"""

from collections import Counter
from typing import Any, NamedTuple

from preflow.errors import PreflowError
from preflow.feedback.fields import Record, nonblank, position, prompt_text, required, text, wrong
from preflow.feedback.fields import vertex_prompt as prompt_of_vertex
from preflow.feedback.rules import check_feedback, check_identity
from preflow.feedback.trl import prompt_and_completions
from preflow.identity import digest_json, normalise, prompt_id, with_instruction
from preflow.rows import (
    Feedback,
    FeedbackKind,
    FeedbackSource,
    JudgedResponse,
    Preference,
    PromptText,
    parse_record,
    parse_row,
    read_lines,
)

ACCEPTED_FORMS = (
    "feedback rows (feedback_id, kind, ...), Vertex (input_text or messages, candidate_0, candidate_1, choice), "
    "TRL (prompt, chosen, rejected, or only chosen and rejected), "
    "ranking (prompt, responses, ranking or bestIndex)"
)
_LABELER = "external"
_NO_TIME = "1970-01-01T00:00:00+00:00"  # foreign rows have no time, and the same file must give the same rows


class ImportedFeedback(NamedTuple):
    """The content of a preference dataset.

    Attributes:
        rows: Feedback rows, each with its location, such as `feedback.jsonl, line 3`.
        identical: Number of records left out because all their texts are identical.
    """

    rows: list[tuple[str, Feedback]]
    identical: int


class _Judgement(NamedTuple):
    """A record of a foreign form."""

    kind: FeedbackKind
    prompt: PromptText
    responses: list[JudgedResponse]
    value: Any
    source: FeedbackSource = "human"


def read_preferences(uri: str, instruction: str = "") -> ImportedFeedback:
    """Reads a preference dataset.

    Args:
        uri: Local path, gs:// URI or packaged name of JSON Lines in any accepted form.
        instruction: System turn for prompts without one.

    Raises:
        PreflowError: A record has no accepted form or a wrong value; the message names file, line and field.
    """
    (rows, identical), refused = read_feedback_file(uri)
    if refused:
        raise PreflowError(next(iter(refused.values())))
    return ImportedFeedback([(where, instructed(row, instruction)) for where, row in rows], identical)


def read_feedback_file(
    uri: str, labeler: str | None = None, source: FeedbackSource | None = None
) -> tuple[ImportedFeedback, dict[str, str]]:
    """Reads all lines of a preference dataset, the refused ones too.

    Args:
        uri: Local path, gs:// URI or packaged name of JSON Lines in any accepted form.
        labeler: Labeler of every row; None keeps the labeler of our own rows.
        source: Source of every row; None keeps the source of our own rows.

    Returns:
        The feedback, and the error messages of the refused lines by location, in the order of the file.

    Raises:
        PreflowError: The file is missing or empty.
    """
    rows: list[tuple[str, Feedback]] = []
    refused: dict[str, str] = {}
    ids: set[str] = set()
    occurrences: Counter[str] = Counter()
    identical = 0
    for where, line in read_lines(uri):
        try:
            imported = import_record(parse_record(line, where), where, occurrences, labeler, source)
            for row in imported:
                if row.feedback_id in ids:
                    raise wrong(where, "feedback_id", f"'{row.feedback_id}' is in the file twice; keep one")
                ids.add(row.feedback_id)
        except PreflowError as error:
            refused[where] = str(error)
            continue
        identical += not imported
        rows += [(where, row) for row in imported]
    return ImportedFeedback(rows, identical), refused


def import_record(
    record: Record,
    where: str,
    occurrences: Counter[str],
    labeler: str | None = None,
    source: FeedbackSource | None = None,
) -> list[Feedback]:
    """Turns one record of any accepted form into feedback rows.

    The id of a foreign row is a digest of its content and of how often the file has held that content so far. So the
    rows of a file do not depend on the order of its lines.

    Args:
        record: The parsed JSON object.
        where: Location of the record, for errors.
        occurrences: How often the file has held each content before this record; updated.
        labeler: Labeler of the rows; None keeps that of our own row, and is `external` for other forms.
        source: Source of the rows; None keeps that of our own row or pair, and is `human` for other forms.

    Returns:
        Usually one row; none if all texts are identical; one per other response if only the best is named.

    Raises:
        PreflowError: The record has no accepted form or a wrong value.
    """
    fields = set(record)
    if "feedback_id" in fields or {"kind", "labeler"} <= fields:
        changes = {"labeler": labeler, "source": source}
        row = parse_row(Feedback, {**record, **{key: one for key, one in changes.items() if one is not None}}, where)
        check_feedback(row, where)
        return [row]
    judgements = _judgements(record, where)
    return [_feedback(one, labeler or _LABELER, source or one.source, occurrences) for one in judgements]


def _judgements(record: Record, where: str) -> list[_Judgement]:
    fields = set(record)
    if {"chosen", "rejected", "prompt_id", "split"} <= fields:
        return _from_preference(record, where)
    forms = {
        "Vertex": bool({"candidate_0", "candidate_1"} & fields),
        "TRL": bool({"chosen", "rejected"} & fields),
        "ranking": "responses" in fields,
    }
    fitting = [form for form, fits in forms.items() if fits]
    if len(fitting) != 1:
        problem = f"fits {' and '.join(fitting)} at once" if fitting else "has no accepted form"
        found = ", ".join(sorted(fields)) or "none"
        raise PreflowError(f"{where}: the record {problem} (fields found: {found}); accepted are {ACCEPTED_FORMS}")
    return {"Vertex": _from_vertex, "TRL": _from_trl, "ranking": _from_ranking}[fitting[0]](record, where)


def _from_preference(record: Record, where: str) -> list[_Judgement]:
    """Reads one of our own pairs. A pair made from automated scores keeps a source that is not a person: `auto`."""
    row = parse_row(Preference, record, where)
    check_identity(row, where)
    texts = [nonblank(row.chosen, "chosen", where), nonblank(row.rejected, "rejected", where)]
    return _pairwise(row.prompt, texts, 0, "auto" if row.source == "label" else row.source)


def _from_vertex(record: Record, where: str) -> list[_Judgement]:
    prompt = prompt_of_vertex(record, where)
    candidates = [text(record, field, where) for field in ("candidate_0", "candidate_1")]
    choice = position(required(record, "choice", where), 2, "choice", where)
    return _pairwise(prompt, candidates, choice)


def _from_trl(record: Record, where: str) -> list[_Judgement]:
    pair = prompt_and_completions(record, where)
    return _pairwise(pair.prompt, [pair.chosen, pair.rejected], 0) if pair else []


def _from_ranking(record: Record, where: str) -> list[_Judgement]:
    prompt = prompt_text(required(record, "prompt", where), "prompt", where)
    responses = _responses(record["responses"], where)
    count = len(responses)
    order = _order(record["ranking"], count, where) if "ranking" in record else None
    best = position(record["bestIndex"], count, "bestIndex", where) if "bestIndex" in record else None
    if order and best is not None and order[0] != best:
        raise wrong(where, "bestIndex", f"is {best}, but 'ranking' puts {order[0]} first")
    if order:
        return [] if _identical(responses) else [_Judgement("ranking", prompt, responses, order)]
    if best is None:
        raise wrong(where, "ranking", "is missing; give 'ranking' (positions from 0, best first) or 'bestIndex'")
    # The order of the others is unknown, so each is only compared with the best.
    pairs = [[responses[best], other] for index, other in enumerate(responses) if index != best]
    return [_Judgement("pairwise", prompt, pair, 0) for pair in pairs if not _identical(pair)]


def _responses(value: Any, where: str) -> list[JudgedResponse]:
    if not isinstance(value, list) or len(value) < 2:
        raise wrong(where, "responses", "must be a list of two or more texts, or of {id, text}")
    responses = []
    for number, one in enumerate(value):
        place = f"responses.{number}"
        if isinstance(one, dict):
            name = one.get("id")
            if name is not None and not isinstance(name, str):
                raise wrong(where, f"{place}.id", "must be a text")
            content = nonblank(required(one, "text", f"{where}, {place}"), f"{place}.text", where)
            responses.append(JudgedResponse(generation_id=name, text=content))
        else:
            responses.append(JudgedResponse(text=nonblank(one, place, where)))
    return responses


def _order(value: Any, count: int, where: str) -> list[int]:
    whole = isinstance(value, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    if not whole or sorted(value) != list(range(count)):
        raise wrong(where, "ranking", f"must hold the positions 0 to {count - 1}, each once, best first, got {value!r}")
    return list(value)


def _pairwise(prompt: PromptText, texts: list[str], better: int, source: FeedbackSource = "human") -> list[_Judgement]:
    responses = [JudgedResponse(text=one) for one in texts]
    return [] if _identical(responses) else [_Judgement("pairwise", prompt, responses, better, source)]


def _identical(responses: list[JudgedResponse]) -> bool:
    return len({normalise(response.text) for response in responses}) == 1


def _feedback(judgement: _Judgement, labeler: str, source: FeedbackSource, occurrences: Counter[str]) -> Feedback:
    kind, prompt, responses, value, _ = judgement
    # The whole body takes part: rows with the same id never differ, whichever of them a file holds first.
    content = digest_json([kind, prompt, [response.model_dump() for response in responses], value, labeler, source])
    occurrences[content] += 1
    return Feedback(
        feedback_id=f"{_LABELER}-{digest_json([content, occurrences[content]])}",
        kind=kind,
        prompt_id=prompt_id(prompt),
        prompt=prompt,
        responses=responses,
        value=value,
        labeler=labeler,
        source=source,
        created_at=_NO_TIME,
    )


def instructed(row: Feedback, instruction: str) -> Feedback:
    """A row whose prompt begins with `instruction` as its system turn, unless it has one or `instruction` is empty."""
    if not instruction:
        return row
    prompt = with_instruction(row.prompt, instruction)
    return row.model_copy(update={"prompt": prompt, "prompt_id": prompt_id(prompt)})
