"""feedback-snapshot: what people said so far, frozen at a watermark."""

from kfp.dsl import Dataset, Output, component

from components.image import IMAGE


@component(base_image=IMAGE, install_kfp_package=False)
def feedback_snapshot(
    feedback_watermark: str,
    database: str,
    store_id: str,
    code_version: str,
    feedback: Output[Dataset],
):
    """Writes the feedback below a watermark.

    Args:
        feedback_watermark: Transaction horizon to read below.
        database: Reference of the database; '' for DATABASE_URL.
        store_id: Identity of that database; only in the cache key.
        code_version: Digest of the library's sources; only in the cache key.
        feedback: Feedback rows; an empty file when nobody said anything.
    """
    from pathlib import Path

    from preflow.feedback import snapshot_feedback
    from preflow.store import database_url

    Path(feedback.path).touch()
    summary = snapshot_feedback(
        database_url=database_url(database), feedback_watermark=feedback_watermark, output=Path(feedback.path)
    )
    feedback.metadata.update(summary)
