"""The Postgres store: generation log, scores, feedback and runs."""

from preflow.store.connection import connect, database_url
from preflow.store.feedback import append_feedback, feedback_watermark, read_feedback, taken_feedback_ids
from preflow.store.generations import existing_generation_ids, insert_generations, select_generations
from preflow.store.runs import Run, list_runs, record_run, store_id
from preflow.store.scores import select_scores, write_scores
from preflow.store.sql import Connection

__all__ = [
    "Connection",
    "Run",
    "append_feedback",
    "connect",
    "database_url",
    "existing_generation_ids",
    "feedback_watermark",
    "insert_generations",
    "list_runs",
    "read_feedback",
    "record_run",
    "select_generations",
    "select_scores",
    "store_id",
    "taken_feedback_ids",
    "write_scores",
]
