"""The feedback table: append-only, and read up to a transaction horizon.

A watermark is a transaction id, and rows are read strictly below it. It never lies above the oldest transaction that
was running when it was taken (`pg_snapshot_xmin`), so every row below it is settled: who reads up to the same watermark
twice reads the same rows, however transactions overlap. A transaction that stays open, in any database of the server,
holds the watermark back: later rows wait, none is lost.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from preflow.errors import PreflowError
from preflow.rows import Feedback
from preflow.store.sql import Connection, Cursor, chunks, clean, insert_rows, jsonb

_COLUMNS = (
    "feedback_id, kind, prompt_id, prompt, responses, value, labeler, source, "
    "guideline_version, shown_order, comment, created_at"
)
_FIELDS = _COLUMNS.split(", ")
_INSERT = f"INSERT INTO feedback ({_COLUMNS}) VALUES %s ON CONFLICT (feedback_id) DO NOTHING RETURNING feedback_id"
_SELECT = f'SELECT {_COLUMNS} FROM feedback WHERE xid < %s::xid8 ORDER BY xid, feedback_id COLLATE "C"'
_SELECT_BY_ID = f"SELECT {_COLUMNS} FROM feedback WHERE feedback_id = ANY(%s)"
_SINGLE_RESPONSE = ("thumbs", "rating", "correction")


def check_feedback(row: Feedback) -> None:
    """Checks that a row makes sense for its kind.

    thumbs (one response): -1 or 1. rating (one response): a finite number. correction (one response): a text that is
    not blank. pairwise (two responses): 0, 1, or null for a tie. ranking (two or more): every index once, best first.
    `shown_order`, where given, holds every index once. `created_at` is an ISO 8601 time; without a zone it is UTC.

    Raises:
        PreflowError: It does not; the message names the row and what was expected.
    """
    count, value = len(row.responses), row.value
    if not row.feedback_id.strip() or not row.labeler.strip():
        raise _wrong(row, "feedback_id and labeler must not be blank")
    if row.kind in _SINGLE_RESPONSE and count != 1:
        raise _wrong(row, f"a {row.kind} judges one response, got {count}")
    if row.kind == "pairwise" and count != 2:
        raise _wrong(row, f"a pairwise comparison has two responses, got {count}")
    if row.kind == "ranking" and count < 2:
        raise _wrong(row, f"a ranking has two or more responses, got {count}")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits, expected = {
        "thumbs": (number and value in (-1, 1), "-1 or 1"),
        "rating": (number and math.isfinite(value), "a finite number"),  # type: ignore[arg-type]
        "correction": (isinstance(value, str) and bool(value.strip()), "the corrected text"),
        "pairwise": (value is None or (isinstance(value, int) and value in (0, 1)), "0, 1, or null for a tie"),
        "ranking": (_is_order(value, count), f"the indices 0 to {count - 1}, each once, best first"),
    }[row.kind]
    if not fits:
        raise _wrong(row, f"the value of a {row.kind} is {expected}, got {value!r}")
    if row.shown_order is not None and not _is_order(row.shown_order, count):
        raise _wrong(row, f"shown_order holds the indices 0 to {count - 1}, each once, got {row.shown_order}")
    _time(row)


def append_feedback(connection: Connection, rows: Sequence[Feedback]) -> int:
    """Appends feedback, in one transaction.

    A row whose id is there with the same body is left out, so a call can be repeated. `created_at` is no part of the
    body: who sends the same words again, later, says the same. The first time stands.

    Returns:
        How many rows were new.

    Raises:
        PreflowError: A row does not make sense (`check_feedback`), or its id is taken by another body. Nothing is
            written then.
    """
    for row in rows:
        check_feedback(row)
    # In the order of their ids: two processes that append the same rows then wait for each other, and never deadlock.
    ordered = sorted(rows, key=lambda row: row.feedback_id)
    with connection, connection.cursor() as cursor:
        new = insert_rows(cursor, _INSERT, (_as_columns(row) for row in ordered))
        if len(new) < len(rows):
            _refuse_other_bodies(cursor, ordered)
    return len(new)


def current_watermark(connection: Connection) -> int:
    """The transaction horizon: every transaction with a smaller id has committed or rolled back."""
    with connection, connection.cursor() as cursor:
        return _horizon(cursor)


def feedback_watermark(connection: Connection) -> str:
    """The smallest watermark that reads all feedback settled by now; `0` when there is none.

    It moves only when feedback arrives, unlike the horizon itself, so that a run without new feedback has the same
    cache key as the one before.

    Raises:
        PreflowError: The rows carry transaction ids that this server has not given out yet, as after restoring a dump.
    """
    with connection, connection.cursor() as cursor:
        # One statement, hence one snapshot: what it sees and the horizon belong together.
        cursor.execute("""
            SELECT
                (SELECT xid::text::bigint + 1 FROM feedback WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
                    ORDER BY xid DESC LIMIT 1),
                EXISTS (SELECT FROM feedback WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()))
        """)
        watermark, foreign = cursor.fetchone()
    if foreign:
        raise PreflowError(
            "feedback holds transaction ids of another server (a restored dump?) and would stay unread; "
            "as its owner run: "
            "ALTER TABLE feedback DISABLE TRIGGER USER; UPDATE feedback SET xid = pg_current_xact_id(); "
            "ALTER TABLE feedback ENABLE TRIGGER USER"
        )
    return str(watermark or 0)


def read_feedback(connection: Connection, watermark: str) -> list[Feedback]:
    """All feedback strictly below a watermark, oldest transaction first, then by id; the same rows at every call.

    Raises:
        PreflowError: The watermark is no number, or lies above the horizon (of another database, or made up): rows
            below it might still arrive.
    """
    if not (watermark.isascii() and watermark.isdigit()) or int(watermark) >= 2**63:
        raise PreflowError(f"feedback watermark {watermark!r} is not a transaction id; take it from feedback_watermark")
    with connection, connection.cursor() as cursor:
        horizon = _horizon(cursor)
        if int(watermark) > horizon:
            raise PreflowError(
                f"feedback watermark {watermark} lies above the horizon {horizon} of this database; take a new one"
            )
        cursor.execute(_SELECT, (watermark,))
        return [_from_columns(record) for record in cursor.fetchall()]


def _horizon(cursor: Cursor) -> int:
    cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
    return int(cursor.fetchone()[0])


def _refuse_other_bodies(cursor: Cursor, rows: Sequence[Feedback]) -> None:
    """Compares rows with what stands under their ids, after the insert: so rows given twice are compared too."""
    stored: dict[str, dict[str, Any]] = {}
    for part in chunks(rows):
        cursor.execute(_SELECT_BY_ID, ([clean(row.feedback_id) for row in part],))
        stored |= {record[0]: _body(_from_columns(record)) for record in cursor.fetchall()}
    for row in rows:
        if stored[clean(row.feedback_id)] != _body(row):
            raise _wrong(row, "the id is taken by another body; feedback is append-only, give a new id")


def _body(row: Feedback) -> Any:
    return clean(row.model_dump(exclude={"created_at"}))


def _as_columns(row: Feedback) -> tuple[Any, ...]:
    responses = [response.model_dump() for response in row.responses]
    shown_order = None if row.shown_order is None else jsonb(row.shown_order)
    return (
        row.feedback_id, row.kind, row.prompt_id, jsonb(row.prompt), jsonb(responses), jsonb(row.value), row.labeler,
        row.source, row.guideline_version, shown_order, row.comment, _time(row),
    )  # fmt: skip


def _from_columns(record: tuple[Any, ...]) -> Feedback:
    fields = dict(zip(_FIELDS, record, strict=True))
    fields["created_at"] = fields["created_at"].astimezone(UTC).isoformat().replace("+00:00", "Z")
    return Feedback(**fields)


def _is_order(value: Any, count: int) -> bool:
    return isinstance(value, list) and sorted(value) == list(range(count))


def _time(row: Feedback) -> datetime:
    try:
        moment = datetime.fromisoformat(row.created_at)
    except ValueError:
        raise _wrong(row, f"created_at is an ISO 8601 time, got {row.created_at!r}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _wrong(row: Feedback, what: str) -> PreflowError:
    return PreflowError(f"feedback '{row.feedback_id}': {what}")
