"""Record a finished run in the database."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preflow import store
from preflow.rows import Evaluation, ScoredGeneration, read_rows
from preflow.uris import read_bytes


def record_run(
    *,
    database_url: str,
    run_id: str,
    pipeline: str,
    parameters: Mapping[str, Any],
    evaluations: Path,
    report_uri: str,
    policy_uri: str,
    verdict: Path,
    feedback_watermark: str,
    scored_generations: Path | None = None,
) -> None:
    """Writes a run with its figures, its evaluation rows and the answers it used.

    Args:
        database_url: The database.
        run_id: Name of the run; a run that is recorded again replaces its record.
        pipeline: Name of the pipeline.
        parameters: Its parameters, without secrets.
        evaluations: Folder that `eval_inference` wrote; the figures of its summary.json become the run's metrics.
        report_uri: Where the report is.
        policy_uri: Where the tuned policy is.
        verdict: File that `promote` wrote; it becomes the metric `verdict`.
        feedback_watermark: Transaction below which the run read feedback; '' for none.
        scored_generations: File of scored generation rows, if the run logged any.

    Raises:
        PreflowError: A file is missing or invalid, or the database cannot be reached.
    """
    metrics = json.loads(read_bytes(str(evaluations / "summary.json")))
    decided = json.loads(read_bytes(str(verdict)))
    used = read_rows(scored_generations, ScoredGeneration) if scored_generations else []
    with store.connect(database_url) as connection:
        store.record_run(
            connection,
            run_id=run_id,
            pipeline=pipeline,
            parameters=parameters,
            metrics={**metrics, "verdict": decided},
            promoted=decided["promoted"],
            reason=decided["reason"],
            report_uri=report_uri,
            policy_uri=policy_uri,
            feedback_watermark=feedback_watermark,
            generation_ids=[row.generation_id for row in used],
            evaluations=read_rows(evaluations / "evaluations.jsonl", Evaluation),
        )
