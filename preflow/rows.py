"""The row types that travel between steps, as JSON Lines.

Every artifact between two steps is a file of one of these types. Rows are frozen and strict: an unknown or missing
field is an error that names file, line and field.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preflow.errors import PreflowError
from preflow.uris import open_text
from preflow.writing import written_beside

Split = Literal["train", "validation", "test"]
FeedbackKind = Literal["thumbs", "rating", "correction", "pairwise", "ranking"]
FeedbackSource = Literal["human", "user", "auto", "example"]
PreferenceSource = Literal["label", "human", "user", "auto", "example"]


@with_config(ConfigDict(extra="forbid"))
class Message(TypedDict):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


PromptText = str | list[Message]


class Row(BaseModel):
    """What all rows share: immutable, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Prompt(Row):
    """A prompt to answer. `prompt` holds the system turn too, if there is one."""

    prompt_id: str
    prompt: PromptText
    split: Split
    reference: str | None = None
    category: str | None = None


class Generation(Row):
    """One sampled answer. `generation_time` is this answer's share of its batch, in seconds."""

    generation_id: str
    prompt_id: str
    prompt: PromptText
    sample: int = Field(ge=0)
    response: str
    model_name: str
    model_digest: str
    prompt_tokens: int
    completion_tokens: int
    generation_time: float
    finish_reason: Literal["stop", "length"]
    sampling: dict[str, Any]


class ScoredGeneration(Generation):
    """A generation with its automated scores. A score that cannot be given is null, and `score_reasons` says why."""

    scores: dict[str, float | None]
    score_reasons: dict[str, str]
    reward_score: float
    scorer_digest: str


class JudgedResponse(Row):
    """A judged response; `generation_id` is null for texts that are not from the log."""

    generation_id: str | None = None
    text: str


class Feedback(Row):
    """One labeler's judgement of one or more responses to one prompt.

    `value` by `kind`: thumbs -1 or 1; rating a number; correction the corrected text; pairwise the index of the better
    response or null for a tie; ranking the response indices, best first.
    """

    feedback_id: str
    kind: FeedbackKind
    prompt_id: str
    prompt: PromptText
    responses: list[JudgedResponse] = Field(min_length=1)
    value: StrictInt | StrictFloat | str | list[StrictInt] | None
    labeler: str
    source: FeedbackSource
    guideline_version: str | None = None
    shown_order: list[int] | None = None
    comment: str | None = None
    created_at: str

    @property
    def judged_at(self) -> datetime:
        """`created_at` as a time; without a zone it is UTC. Raises ValueError if it is not an ISO 8601 time."""
        moment = datetime.fromisoformat(self.created_at)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Preference(Row):
    """A pair in TRL's explicit-prompt form, with where it comes from.

    `score_gap` is deliberately not named `margin`: TRL reads a column of that name as an offset in its loss.
    """

    prompt: PromptText
    chosen: str
    rejected: str
    prompt_id: str
    source: PreferenceSource
    score_gap: float | None = None
    weight: float = 1.0
    group_id: str
    votes_for: float = 1.0
    votes_against: float = 0.0
    agreement: float = 1.0
    feedback_ids: list[str] = []
    split: Split


class Reply(Prompt):
    """One model's answer to a prompt at one sampling temperature; 0 is greedy."""

    temperature: float = Field(ge=0)
    response: str
    tokens: int
    finish_reason: Literal["stop", "length"]


class Answer(Row):
    """One model's answer to one evaluation prompt, with every judge's score of it."""

    response: str
    tokens: int
    finish_reason: Literal["stop", "length"]
    scores: dict[str, float | None]


class Evaluation(Row):
    """One test prompt with what the compared models answer at one sampling temperature (keys: `base`, `tuned`).

    The greedy row also holds `best_base`, the base model's answer at the temperature that is best for it.
    """

    prompt_id: str
    prompt: PromptText
    reference: str | None = None
    category: str | None = None
    temperature: float = 0.0
    answers: dict[str, Answer]


RowT = TypeVar("RowT", bound=Row)

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_ALTERNATIVES = re.compile(r"(str|int|float|list)(\[.*\])?")


def parse_row(row_type: type[RowT], record: Any, where: str) -> RowT:
    """Makes a row of `row_type` out of parsed JSON.

    Args:
        row_type: The type to make.
        record: What `json.loads` gave.
        where: Names the record in an error, such as `prompts.jsonl, line 3`.

    Raises:
        PreflowError: The record does not fit; the message names `where` and the field.
    """
    try:
        return row_type.model_validate(record)
    except ValidationError as error:
        # Of a union's alternatives the deepest error belongs to the one that was meant.
        deepest = max(error.errors(), key=lambda one: len(one["loc"]))
        raise PreflowError(
            f"{where}: field '{_field(deepest['loc'])}': {deepest['msg']} ({row_type.__name__} row)"
        ) from None


def read_lines(uri: str | os.PathLike[str], *, allow_empty: bool = False) -> Iterator[tuple[str, str]]:
    """Reads the lines of a JSON Lines file that are not blank, each with its location, such as `prompts.jsonl, line 3`.

    Args:
        uri: Local path, gs:// URI or packaged name.
        allow_empty: Whether the file may have no rows.

    Raises:
        PreflowError: The file is missing or empty.
    """
    name = os.fspath(uri)
    empty = True
    with open_text(name) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                empty = False
                yield f"{name}, line {number}", line
    if empty and not allow_empty:
        raise PreflowError(f"{name}: the file is empty; at least one row is needed")


def parse_record(line: str, where: str) -> dict[str, Any]:
    """Parses a line of a JSON Lines file.

    Raises:
        PreflowError: It is not a JSON object of valid Unicode; the message names `where`.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise PreflowError(f"{where}: not JSON ({error}); each line must be one JSON object") from None
    if not isinstance(record, dict):
        raise PreflowError(f"{where}: a JSON object was expected, got {type(record).__name__}")
    if _HALF_CHARACTER.search(line):
        _refuse_half_characters(record, where)
    return record


def read_records(uri: str | os.PathLike[str], *, allow_empty: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads the JSON objects of a JSON Lines file, each with its location; see `read_lines` and `parse_record`."""
    for where, line in read_lines(uri, allow_empty=allow_empty):
        yield where, parse_record(line, where)


def read_rows(uri: str | os.PathLike[str], row_type: type[RowT], *, allow_empty: bool = False) -> list[RowT]:
    """Reads a whole file of rows of one type; without rows it is an error unless `allow_empty`."""
    return [parse_row(row_type, record, where) for where, record in read_records(uri, allow_empty=allow_empty)]


def write_rows(path: str | os.PathLike[str], rows: Iterable[Row]) -> int:
    """Writes rows to a local file, beside it first, so that a killed step leaves no half file. Returns their number."""
    count = 0
    with written_beside(Path(path)) as beside, beside.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(row.model_dump_json() + "\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


def clean(value: Any) -> Any:
    """Returns a value in the form that JSON and the database can hold.

    NUL and lone surrogates become U+FFFD, also in nested lists and mappings. Numbers that are not finite become null,
    because JSON cannot express them. Everything else is unchanged.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def _field(location: Sequence[int | str]) -> str:
    """A field as the user wrote it: without the names of the union alternatives that pydantic tried."""
    parts = [str(part) for part in location if isinstance(part, int) or not _ALTERNATIVES.fullmatch(part)]
    return ".".join(parts) or "(the whole record)"


def _refuse_half_characters(record: Any, where: str) -> None:
    """JSON can spell half of a surrogate pair; no file, digest or database can hold it."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise PreflowError(
            f"{where}: half of a surrogate pair (\\ud800 to \\udfff) is no text; write the character whole"
        ) from None
