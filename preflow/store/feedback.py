"""The feedback table: append-only, and read up to a transaction horizon.

A watermark is a transaction id, and rows are read strictly below it. It is never above the oldest transaction that was
running when it was taken (`pg_snapshot_xmin`), so every row below it is settled: reading twice below the same watermark
gives the same rows, however transactions overlap. A transaction that stays open, in any database of the server, holds
the watermark back: later rows wait, and none is lost.
"""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

from preflow.errors import PreflowError
from preflow.rows import Feedback, clean
from preflow.store.sql import Connection, Cursor, chunks, insert_rows, jsonb

_COLUMNS = (
    "feedback_id, kind, prompt_id, prompt, responses, value, labeler, source, "
    "guideline_version, shown_order, comment, created_at"
)
_FIELDS = _COLUMNS.split(", ")
_INSERT = f"INSERT INTO feedback ({_COLUMNS}) VALUES %s ON CONFLICT (feedback_id) DO NOTHING RETURNING feedback_id"
_SELECT = f'SELECT {_COLUMNS} FROM feedback WHERE xid < %s::xid8 ORDER BY xid, feedback_id COLLATE "C"'
_SELECT_BY_ID = f"SELECT {_COLUMNS} FROM feedback WHERE feedback_id = ANY(%s)"


def append_feedback(connection: Connection, rows: Sequence[Feedback]) -> int:
    """Appends feedback that keeps the rules (`feedback.rules.check_feedback`), in one transaction.

    A row whose id is known with the same body is left out, so a call can be repeated and moves no watermark.
    `created_at` is not part of the body: a judgement that is sent again keeps its first time.

    Returns:
        The number of new rows.

    Raises:
        PreflowError: The id of a row is taken by another body. Nothing is written then.
    """
    # In the order of ids: two processes that append the same rows then wait for each other, and never deadlock.
    ordered = sorted(rows, key=lambda row: row.feedback_id)
    with connection, connection.cursor() as cursor:
        new = insert_rows(cursor, _INSERT, (_as_columns(row) for row in ordered))
        # Looked up after the insert, so that rows that share an id within this call are compared, too.
        taken = _taken_ids(cursor, ordered) if len(new) < len(rows) else []
        if taken:
            raise PreflowError(
                f"feedback '{taken[0]}': the id is taken by another body; feedback is append-only, use a new id"
            )
    return len(new)


def taken_feedback_ids(connection: Connection, rows: Sequence[Feedback]) -> list[str]:
    """The ids of those rows whose id the store holds with another body."""
    with connection, connection.cursor() as cursor:
        return _taken_ids(cursor, rows)


def feedback_watermark(connection: Connection) -> str:
    """Returns the smallest watermark that reads all feedback settled by now; `0` if there is none.

    Unlike the transaction horizon, it moves only when feedback arrives, so that a run without new feedback has the same
    cache key as the run before.

    Raises:
        PreflowError: The rows have transaction ids that this server has not assigned yet, as after restoring a dump.
    """
    with connection, connection.cursor() as cursor:
        # One statement is one snapshot, so the rows that it sees and the horizon belong together.
        cursor.execute("""
            SELECT
                (SELECT xid::text::bigint + 1 FROM feedback WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
                    ORDER BY xid DESC LIMIT 1),
                EXISTS (SELECT FROM feedback WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()))
        """)
        [(watermark, foreign)] = cursor.fetchall()
    if foreign:
        raise PreflowError(
            "feedback holds transaction ids of another server (a restored dump?) and would stay unread; "
            "as its owner run: "
            "ALTER TABLE feedback DISABLE TRIGGER USER; UPDATE feedback SET xid = pg_current_xact_id(); "
            "ALTER TABLE feedback ENABLE TRIGGER USER"
        )
    return str(watermark or 0)


def read_feedback(connection: Connection, watermark: str) -> list[Feedback]:
    """Reads all feedback strictly below a watermark, by transaction and then by id; every call returns the same rows.

    Raises:
        PreflowError: The watermark is not a number, or is above the transaction horizon (from another database, or made
            up), so that rows below it might still arrive.
    """
    if not (watermark.isascii() and watermark.isdigit()) or int(watermark) >= 2**63:
        raise PreflowError(
            f"`feedback_watermark`: {watermark!r} is not a transaction id; take it from store.feedback_watermark"
        )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        [(horizon,)] = cursor.fetchall()
        if int(watermark) > horizon:
            raise PreflowError(
                f"`feedback_watermark`: {watermark} is above the horizon {horizon} of this database; take a new one"
            )
        cursor.execute(_SELECT, (watermark,))
        return [_from_columns(record) for record in cursor.fetchall()]


def _taken_ids(cursor: Cursor, rows: Sequence[Feedback]) -> list[str]:
    stored: dict[str, Any] = {}
    for part in chunks(rows):
        cursor.execute(_SELECT_BY_ID, ([clean(row.feedback_id) for row in part],))
        stored |= {record[0]: _body(_from_columns(record)) for record in cursor.fetchall()}
    return [row.feedback_id for row in rows if stored.get(clean(row.feedback_id), _body(row)) != _body(row)]


def _body(row: Feedback) -> Any:
    return clean(row.model_dump(exclude={"created_at"}))


def _as_columns(row: Feedback) -> tuple[Any, ...]:
    responses = [response.model_dump() for response in row.responses]
    shown_order = None if row.shown_order is None else jsonb(row.shown_order)
    return (
        row.feedback_id, row.kind, row.prompt_id, jsonb(row.prompt), jsonb(responses), jsonb(row.value), row.labeler,
        row.source, row.guideline_version, shown_order, row.comment, row.judged_at,
    )  # fmt: skip


def _from_columns(record: tuple[Any, ...]) -> Feedback:
    fields = dict(zip(_FIELDS, record, strict=True))
    fields["created_at"] = fields["created_at"].astimezone(UTC).isoformat().replace("+00:00", "Z")
    return Feedback(**fields)
