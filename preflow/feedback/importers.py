"""Preference data in any accepted form, as feedback rows.

The forms are told apart by their fields; one file may mix them. Unknown fields of foreign forms are ignored, as foreign
data carries columns of its own; of our own rows they are an error.
"""

from typing import Any, NamedTuple

from preflow.errors import PreflowError
from preflow.feedback.fields import Record, nonblank, position, prompt_text, required, text, wrong
from preflow.feedback.fields import vertex_prompt as prompt_of_vertex
from preflow.feedback.rules import check_feedback, check_identity
from preflow.feedback.trl import prompt_and_completions
from preflow.identity import digest_json, normalise, prompt_id, with_instruction
from preflow.rows import Feedback, JudgedResponse, Preference, PromptText, parse_row, read_records

ACCEPTED_FORMS = (
    "feedback rows (feedback_id, kind, ...), Vertex (input_text or messages, candidate_0, candidate_1, choice), "
    "TRL (prompt, chosen, rejected, or only chosen and rejected), "
    "ranking (prompt, responses, ranking or bestIndex)"
)
_LABELER = "external"
_NO_TIME = "1970-01-01T00:00:00+00:00"  # foreign rows bring no time, and the same file must give the same rows


class ImportedFeedback(NamedTuple):
    """What a preference dataset holds.

    Attributes:
        rows: Feedback rows, each with the words that name its place in the file.
        identical: How many records were left out because their texts are the same: they say nothing.
    """

    rows: list[tuple[str, Feedback]]
    identical: int


def read_preferences(uri: str, instruction: str = "") -> ImportedFeedback:
    """Reads a preference dataset.

    Args:
        uri: Local path, gs:// URI or packaged name of JSON Lines in any accepted form.
        instruction: System turn for prompts that bring none.

    Raises:
        PreflowError: A record has no accepted form or a wrong value; the message names file, line and field.
    """
    rows: list[tuple[str, Feedback]] = []
    known: set[str] = set()
    identical = 0
    for number, (where, record) in enumerate(read_records(uri)):
        imported = import_record(record, where, number)
        identical += not imported
        for row in imported:
            if row.feedback_id in known:
                raise wrong(where, "feedback_id", f"'{row.feedback_id}' stands in the file twice; keep one")
            known.add(row.feedback_id)
            rows.append((where, _instructed(row, instruction)))
    return ImportedFeedback(rows, identical)


def import_record(record: Record, where: str, number: int) -> list[Feedback]:
    """One record of any accepted form as feedback rows.

    Args:
        record: The parsed JSON object.
        where: Names its place in an error.
        number: Its number in the file; makes the ids of equal records differ.

    Returns:
        Mostly one row. None where all texts are the same; one for each beaten response where only the best is named.

    Raises:
        PreflowError: The record has no accepted form or a wrong value.
    """
    fields = set(record)
    if "feedback_id" in fields or {"kind", "labeler"} <= fields:
        return [_from_feedback(record, where)]
    if {"chosen", "rejected", "prompt_id", "split"} <= fields:
        return _from_preference(record, where, number)
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
    return {"Vertex": _from_vertex, "TRL": _from_trl, "ranking": _from_ranking}[fitting[0]](record, where, number)


def _from_feedback(record: Record, where: str) -> Feedback:
    row = parse_row(Feedback, record, where)
    check_feedback(row, where)
    return row


def _from_preference(record: Record, where: str, number: int) -> list[Feedback]:
    """Our own pairs, read back. A pair that automated scores made is no person's word and stays `auto`."""
    row = parse_row(Preference, record, where)
    check_identity(row, where)
    texts = [nonblank(row.chosen, "chosen", where), nonblank(row.rejected, "rejected", where)]
    source = "auto" if row.source == "label" else row.source
    return [one.model_copy(update={"source": source}) for one in _pairwise(row.prompt, texts, 0, number)]


def _from_vertex(record: Record, where: str, number: int) -> list[Feedback]:
    prompt = prompt_of_vertex(record, where)
    candidates = [text(record, field, where) for field in ("candidate_0", "candidate_1")]
    choice = position(required(record, "choice", where), 2, "choice", where)
    return _pairwise(prompt, candidates, choice, number)


def _from_trl(record: Record, where: str, number: int) -> list[Feedback]:
    pair = prompt_and_completions(record, where)
    return _pairwise(pair.prompt, [pair.chosen, pair.rejected], 0, number) if pair else []


def _from_ranking(record: Record, where: str, number: int) -> list[Feedback]:
    prompt = prompt_text(required(record, "prompt", where), "prompt", where)
    responses = _responses(record["responses"], where)
    count = len(responses)
    order = _order(record["ranking"], count, where) if "ranking" in record else None
    best = position(record["bestIndex"], count, "bestIndex", where) if "bestIndex" in record else None
    if order and best is not None and order[0] != best:
        raise wrong(where, "bestIndex", f"is {best}, but 'ranking' puts {order[0]} first")
    if order:
        return [] if _same(responses) else [_feedback("ranking", prompt, responses, order, number)]
    if best is None:
        raise wrong(where, "ranking", "is missing; give 'ranking' (positions from 0, best first) or 'bestIndex'")
    # Nothing is known about the order of the others, so each is only compared with the best.
    others = [response for index, response in enumerate(responses) if index != best]
    pairs = [[responses[best], other] for other in others if not _same([responses[best], other])]
    return [_feedback("pairwise", prompt, pair, 0, [number, rank]) for rank, pair in enumerate(pairs)]


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
            told = nonblank(required(one, "text", f"{where}, {place}"), f"{place}.text", where)
            responses.append(JudgedResponse(generation_id=name, text=told))
        else:
            responses.append(JudgedResponse(text=nonblank(one, place, where)))
    return responses


def _order(value: Any, count: int, where: str) -> list[int]:
    whole = isinstance(value, list) and all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    if not whole or sorted(value) != list(range(count)):
        raise wrong(where, "ranking", f"must hold the positions 0 to {count - 1}, each once, best first, got {value!r}")
    return list(value)


def _pairwise(prompt: PromptText, texts: list[str], better: int, number: int) -> list[Feedback]:
    responses = [JudgedResponse(text=one) for one in texts]
    return [] if _same(responses) else [_feedback("pairwise", prompt, responses, better, number)]


def _same(responses: list[JudgedResponse]) -> bool:
    return len({normalise(response.text) for response in responses}) == 1


def _feedback(kind: Any, prompt: PromptText, responses: list[JudgedResponse], value: Any, number: Any) -> Feedback:
    identity = prompt_id(prompt)
    content = [identity, [response.text for response in responses], value, number]
    return Feedback(
        feedback_id=f"{_LABELER}-{digest_json(content)}",
        kind=kind,
        prompt_id=identity,
        prompt=prompt,
        responses=responses,
        value=value,
        labeler=_LABELER,
        source="human",
        created_at=_NO_TIME,
    )


def _instructed(row: Feedback, instruction: str) -> Feedback:
    prompt = with_instruction(row.prompt, instruction)
    return row.model_copy(update={"prompt": prompt, "prompt_id": prompt_id(prompt)})
