"""feedback-snapshot: the feedback so far, frozen at a watermark."""

from kfp.dsl import Dataset, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def feedback_snapshot(
    feedback_watermark: str,
    instruction: str,
    database: str,
    store_id: str,
    code_version: str,
    feedback: Output[Dataset],
) -> None:
    """Writes the feedback below a watermark.

    Args:
        feedback_watermark: Transaction below which feedback is read.
        instruction: System turn for prompts without one.
        database: Reference of the database; '' for DATABASE_URL.
        store_id: Identity of that database; only in the cache key.
        code_version: Digest of this step's code; only in the cache key.
        feedback: Feedback rows; an empty file where there are none.
    """
    from pathlib import Path

    from preflow.feedback.snapshot import feedback_snapshot
    from preflow.store import database_url

    summary = feedback_snapshot(
        database_url=database_url(database),
        feedback_watermark=feedback_watermark,
        instruction=instruction,
        output=Path(feedback.path),
    )
    feedback.metadata.update(scalars(summary))
