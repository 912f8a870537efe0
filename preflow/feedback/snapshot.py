"""The feedback of the store, frozen at a watermark."""

from collections import Counter
from pathlib import Path
from typing import Any

from preflow import store
from preflow.feedback.importers import instructed
from preflow.rows import write_rows


def feedback_snapshot(
    *, database_url: str, feedback_watermark: str, output: Path, instruction: str = ""
) -> dict[str, Any]:
    """Writes the feedback strictly below a watermark.

    Args:
        database_url: DSN of the store.
        feedback_watermark: Transaction horizon, as returned by `store.feedback_watermark`.
        instruction: System turn for prompts without one, so that a prompt has the id that it has in the datasets.
        output: File of feedback rows to write; empty if there is no feedback.

    Returns:
        Number of rows, in total and by kind.

    Raises:
        PreflowError: The database cannot be reached, or the watermark is not from this database.
    """
    with store.connect(database_url) as connection:
        rows = [instructed(row, instruction) for row in store.read_feedback(connection, feedback_watermark)]
    write_rows(output, rows)
    return {"rows": len(rows), "by_kind": dict(sorted(Counter(row.kind for row in rows).items()))}
