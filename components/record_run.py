"""record-run: what a run made and how it was judged goes to the database."""

from typing import Any

from kfp.dsl import HTML, Dataset, Input, Model, component

from components.image import IMAGE


@component(base_image=IMAGE, install_kfp_package=False)
def record_run(
    run_id: str,
    job_name: str,
    pipeline: str,
    parameters: dict[str, Any],
    evaluations: Input[Dataset],
    report: Input[HTML],
    policy: Input[Model],
    verdict: Input[Dataset],
    feedback_watermark: str,
    database: str,
    scored_generations: Input[Dataset] = None,
) -> None:
    """Records the run. Never cached, so that every run is on record.

    Args:
        run_id: The launcher's name of the run; '' where the platform names it.
        job_name: The platform's name of the run.
        pipeline: Name of the pipeline.
        parameters: The run's parameters.
        evaluations: Folder of evaluation rows and summary.json.
        report: The report.
        policy: The tuned policy.
        verdict: Whether the policy is promoted, and why.
        feedback_watermark: Transaction below which this run read feedback; '' for none.
        database: Reference of the database; '' for DATABASE_URL.
        scored_generations: Scored generation rows, if the run logged any.
    """
    from pathlib import Path

    from preflow.recording import record_run
    from preflow.store import database_url

    record_run(
        database_url=database_url(database),
        run_id=run_id or job_name,
        pipeline=pipeline,
        parameters=parameters,
        evaluations=Path(evaluations.path),
        report_uri=report.uri,
        policy_uri=policy.uri,
        verdict=Path(verdict.path),
        feedback_watermark=feedback_watermark,
        scored_generations=Path(scored_generations.path) if scored_generations else None,
    )
