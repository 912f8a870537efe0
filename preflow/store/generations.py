"""The generation log: the table `llm_logs`."""

from collections.abc import Iterable, Sequence
from typing import Any

from preflow.errors import PreflowError
from preflow.identity import as_messages
from preflow.rows import Generation, PromptText
from preflow.store.sql import Connection, chunks, insert_rows, jsonb, uuid_array

_COLUMNS = (
    "generation_id, prompt_id, prompt, messages, sample, response, model_name, model_digest, "
    "token_count, prompt_tokens, generation_time, finish_reason, sampling"
)
_INSERT = f"INSERT INTO llm_logs ({_COLUMNS}) VALUES %s ON CONFLICT (generation_id) DO NOTHING RETURNING id"
_SELECT = """
    SELECT l.generation_id::text, prompt_id, prompt, messages, sample, response, model_name, model_digest,
        token_count, prompt_tokens, generation_time, finish_reason, sampling
    FROM unnest(%s::uuid[]) WITH ORDINALITY AS wanted (generation_id, place)
    JOIN llm_logs AS l USING (generation_id)
    ORDER BY place
"""


def insert_generations(connection: Connection, rows: Sequence[Generation]) -> int:
    """Puts answers into the log, in one transaction. An answer that is already there stays as it is.

    Returns:
        How many were new.

    Raises:
        PreflowError: A `generation_id` is not a UUID.
    """
    uuid_array(row.generation_id for row in rows)
    # In the order of their ids: two processes that write the same answers then wait for each other, and never deadlock.
    ordered = sorted(rows, key=lambda row: row.generation_id)
    with connection, connection.cursor() as cursor:
        return len(insert_rows(cursor, _INSERT, (_as_columns(row) for row in ordered)))


def existing_generation_ids(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Those of the ids that are in the log."""
    found: set[str] = set()
    with connection, connection.cursor() as cursor:
        for part in chunks(uuid_array(ids)):
            cursor.execute("SELECT generation_id::text FROM llm_logs WHERE generation_id = ANY(%s::uuid[])", (part,))
            found.update(generation_id for (generation_id,) in cursor.fetchall())
    return found


def select_generations(connection: Connection, ids: Sequence[str]) -> list[Generation]:
    """The answers with these ids, in the order of the ids. Numbers come back exactly as they went in.

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


def plain_text(prompt: PromptText) -> str:
    """A prompt as one text: the string itself, or the last user turn (of a chat without one, the last turn)."""
    if isinstance(prompt, str):
        return prompt
    turns = as_messages(prompt)
    said = [turn for turn in turns if turn["role"] == "user"] or turns
    return said[-1]["content"] if said else ""


def _as_columns(row: Generation) -> tuple[Any, ...]:
    messages = None if isinstance(row.prompt, str) else jsonb(row.prompt)
    return (
        row.generation_id, row.prompt_id, plain_text(row.prompt), messages, row.sample, row.response,
        row.model_name, row.model_digest,
        row.completion_tokens, row.prompt_tokens, row.generation_time, row.finish_reason, jsonb(row.sampling),
    )  # fmt: skip


def _from_columns(record: tuple[Any, ...]) -> Generation:
    (
        generation_id, prompt_id, prompt, messages, sample, response, model_name, model_digest,
        token_count, prompt_tokens, generation_time, finish_reason, sampling,
    ) = record  # fmt: skip
    return Generation(
        generation_id=generation_id,
        prompt_id=prompt_id,
        prompt=prompt if messages is None else messages,
        sample=sample,
        response=response,
        model_name=model_name,
        model_digest=model_digest,
        prompt_tokens=prompt_tokens,
        completion_tokens=token_count,
        generation_time=generation_time,
        finish_reason=finish_reason,
        sampling=sampling,
    )
