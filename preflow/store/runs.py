"""Finished runs, and the id of the store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from preflow.rows import Evaluation
from preflow.store.sql import Connection, insert_rows, jsonb, uuid_array

_COLUMNS = (
    "run_id, pipeline, parameters, metrics, promoted, promotion_reason, report_uri, policy_uri, feedback_watermark"
)
_CHANGES = ", ".join(f"{name} = EXCLUDED.{name}" for name in _COLUMNS.split(", ")[1:])
_UPSERT = f"INSERT INTO runs ({_COLUMNS}) VALUES %s ON CONFLICT (run_id) DO UPDATE SET {_CHANGES} RETURNING run_id"


@dataclass(frozen=True)
class Run:
    """A recorded run. `finished_at` is the time of its first recording."""

    run_id: str
    pipeline: str
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    promoted: bool
    promotion_reason: str
    report_uri: str
    policy_uri: str
    feedback_watermark: str
    finished_at: datetime


def record_run(
    connection: Connection,
    *,
    run_id: str,
    pipeline: str,
    parameters: Mapping[str, Any],
    metrics: Mapping[str, Any],
    promoted: bool,
    reason: str,
    report_uri: str,
    policy_uri: str,
    feedback_watermark: str,
    generation_ids: Iterable[str],
    evaluations: Sequence[Evaluation],
) -> None:
    """Records a finished run with its answers and evaluation rows, in one transaction.

    Recording a run again replaces everything but the time of its first recording.

    Args:
        connection: A connection to the store.
        run_id: Name of the run.
        pipeline: Name of the pipeline.
        parameters: Parameters of the run, without secrets.
        metrics: Metrics of the run; numbers that are not finite are stored as null.
        promoted: Whether the tuned policy was promoted.
        reason: Reason for that decision.
        report_uri: Location of the report.
        policy_uri: Location of the tuned policy.
        feedback_watermark: Watermark below which the run read feedback.
        generation_ids: Ids of the answers that the run used.
        evaluations: Evaluation rows of the run, in order.

    Raises:
        PreflowError: A generation id is not a UUID.
    """
    members = [(run_id, generation_id) for generation_id in sorted(set(uuid_array(generation_ids)))]
    rows = [(run_id, place, row.prompt_id, jsonb(row.model_dump(mode="json"))) for place, row in enumerate(evaluations)]
    run = (
        run_id, pipeline, jsonb(dict(parameters)), jsonb(dict(metrics)), promoted, reason, report_uri, policy_uri,
        feedback_watermark,
    )  # fmt: skip
    with connection, connection.cursor() as cursor:
        insert_rows(cursor, _UPSERT, [run])  # first, because it locks the run against a concurrent recording
        cursor.execute("DELETE FROM run_generations WHERE run_id = %s", (run_id,))
        cursor.execute("DELETE FROM evaluations WHERE run_id = %s", (run_id,))
        insert_rows(cursor, "INSERT INTO run_generations (run_id, generation_id) VALUES %s RETURNING 1", members)
        insert_rows(cursor, "INSERT INTO evaluations (run_id, place, prompt_id, row) VALUES %s RETURNING 1", rows)


def list_runs(connection: Connection) -> list[Run]:
    """Reads all recorded runs, the latest first."""
    with connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT {_COLUMNS}, finished_at FROM runs ORDER BY finished_at DESC, run_id DESC")
        return [Run(*record) for record in cursor.fetchall()]


def store_id(connection: Connection) -> str:
    """Returns the id of this store, for cache keys. It changes when rows are removed from the generation log."""
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT store_id::text FROM store_meta")
        [(name,)] = cursor.fetchall()
        return str(name)
