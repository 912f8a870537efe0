"""Automated scores: the table `scores`, and `llm_logs.reward_score`."""

import math
from collections.abc import Sequence

from preflow.errors import PreflowError
from preflow.rows import ScoredGeneration
from preflow.store.sql import Connection, Cursor, chunks, insert_rows, uuid_array

_UPSERT = """
    INSERT INTO scores (generation_id, metric, scorer_digest, value, reason) VALUES %s
    ON CONFLICT (generation_id, metric, scorer_digest) DO UPDATE SET value = EXCLUDED.value, reason = EXCLUDED.reason
    RETURNING generation_id
"""
_LOCK = "SELECT 1 FROM llm_logs WHERE generation_id = ANY(%s::uuid[]) ORDER BY generation_id FOR NO KEY UPDATE"
_SET_REWARD = """
    UPDATE llm_logs SET reward_score = scored.reward_score
    FROM (VALUES %s) AS scored (generation_id, reward_score)
    WHERE llm_logs.generation_id = scored.generation_id
    RETURNING llm_logs.id
"""

StoredScore = tuple[float | None, str | None]
"""A value, or the reason why there is none."""


def write_scores(connection: Connection, rows: Sequence[ScoredGeneration]) -> int:
    """Writes the scores of answers in the log, in one transaction; earlier scores of the same scorer are replaced.

    `llm_logs.reward_score` holds the reward score of the scorer that wrote last.

    Returns:
        The number of scores written.

    Raises:
        PreflowError: A score is missing without a reason or is not finite, or an answer is not in the log.
    """
    last = {row.generation_id: row for row in rows}
    ids = sorted(uuid_array(last))
    scores = [
        (row.generation_id, metric, row.scorer_digest, *_checked(row, metric))
        for row in last.values()
        for metric in row.scores
    ]
    rewards = [(row.generation_id, row.reward_score) for row in last.values()]
    for generation_id, reward in rewards:
        if not math.isfinite(reward):
            raise PreflowError(f"generation {generation_id}: the reward score is {reward}; it must be a finite number")
    with connection, connection.cursor() as cursor:
        _lock(cursor, ids)
        written = insert_rows(cursor, _UPSERT, scores)
        insert_rows(cursor, _SET_REWARD, rewards, "(%s::uuid, %s::double precision)")
    return len(written)


def select_scores(connection: Connection, ids: Sequence[str], scorer_digest: str) -> dict[str, dict[str, StoredScore]]:
    """The scores that one scorer gave these answers, by id, then by metric. Answers without a score are left out."""
    found: dict[str, dict[str, StoredScore]] = {}
    with connection, connection.cursor() as cursor:
        for part in chunks(uuid_array(ids)):
            cursor.execute(
                "SELECT generation_id::text, metric, value, reason FROM scores "
                "WHERE generation_id = ANY(%s::uuid[]) AND scorer_digest = %s ORDER BY generation_id, metric",
                (part, scorer_digest),
            )
            for generation_id, metric, value, reason in cursor.fetchall():
                found.setdefault(generation_id, {})[metric] = (value, reason)
    return found


def _checked(row: ScoredGeneration, metric: str) -> StoredScore:
    value, reason = row.scores[metric], row.score_reasons.get(metric)
    where = f"generation {row.generation_id}: metric '{metric}'"
    if value is None and not reason:
        raise PreflowError(f"{where} has neither a score nor a reason; give one of them")
    if value is not None and not math.isfinite(value):
        raise PreflowError(f"{where} is {value}; give null with a reason instead")
    return value, reason


def _lock(cursor: Cursor, ids: Sequence[str]) -> None:
    """Locks the answers in the order of ids, so that two scorers of the same answers never deadlock."""
    found = 0
    for part in chunks(ids):
        cursor.execute(_LOCK, (part,))
        found += len(cursor.fetchall())
    if found != len(ids):
        missing = len(ids) - found
        raise PreflowError(f"llm_logs: {missing} of {len(ids)} scored generations are not in the log; log them first")
