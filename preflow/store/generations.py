"""The generation log: the table `llm_logs`."""

from collections.abc import Iterable, Sequence
from typing import Any

from preflow.chat import last_user_turn
from preflow.errors import PreflowError
from preflow.rows import Generation
from preflow.store.sql import Connection, chunks, insert_rows, jsonb, uuid_array

# The columns have the names of the row's fields. Beside them, `messages` holds a chat, whose `prompt` is plain text.
_FIELDS = tuple(Generation.model_fields)
_COLUMNS = ", ".join(_FIELDS)
_INSERT = f"""
    INSERT INTO llm_logs ({_COLUMNS}, messages, token_count) VALUES %s
    ON CONFLICT (generation_id) DO NOTHING RETURNING id
"""
_SELECT = f"""
    SELECT {_COLUMNS}, messages
    FROM unnest(%s::uuid[]) WITH ORDINALITY AS wanted (generation_id, position)
    JOIN llm_logs USING (generation_id)
    ORDER BY position
"""


def insert_generations(connection: Connection, rows: Sequence[Generation]) -> int:
    """Writes answers to the log, in one transaction. An answer that is already in the log stays unchanged.

    Returns:
        The number of new answers.

    Raises:
        PreflowError: A `generation_id` is not a UUID.
    """
    uuid_array(row.generation_id for row in rows)
    # In the order of ids: two processes that write the same answers then wait for each other, and never deadlock.
    ordered = sorted(rows, key=lambda row: row.generation_id)
    with connection, connection.cursor() as cursor:
        return len(insert_rows(cursor, _INSERT, (_as_columns(row) for row in ordered)))


def existing_generation_ids(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Returns the ids that are in the log."""
    found: set[str] = set()
    with connection, connection.cursor() as cursor:
        for part in chunks(uuid_array(ids)):
            cursor.execute("SELECT generation_id::text FROM llm_logs WHERE generation_id = ANY(%s::uuid[])", (part,))
            found.update(generation_id for (generation_id,) in cursor.fetchall())
    return found


def select_generations(connection: Connection, ids: Sequence[str]) -> list[Generation]:
    """Reads the answers with these ids, in the order of the ids. Numbers are returned exactly as they were written.

    Raises:
        PreflowError: Some are not in the log.
    """
    rows: list[Generation] = []
    with connection, connection.cursor() as cursor:
        for part in chunks(uuid_array(ids)):
            cursor.execute(_SELECT, (part,))
            rows.extend(_from_columns(record) for record in cursor.fetchall())
    if len(rows) != len(ids):
        found = {row.generation_id for row in rows}
        missing = [generation_id for generation_id in ids if generation_id not in found]
        raise PreflowError(
            f"llm_logs: {len(missing)} of {len(ids)} generations are missing, first {missing[0]}; log them again"
        )
    return rows


def _as_columns(row: Generation) -> list[Any]:
    messages = None if isinstance(row.prompt, str) else jsonb(row.prompt)
    values = {**dict(row), "prompt": last_user_turn(row.prompt), "sampling": jsonb(row.sampling)}
    return [*(values[field] for field in _FIELDS), messages, row.prompt_tokens + row.completion_tokens]


def _from_columns(record: tuple[Any, ...]) -> Generation:
    *values, messages = record
    fields = dict(zip(_FIELDS, values, strict=True))
    return Generation(**fields if messages is None else fields | {"prompt": messages})
