"""record-run: what a run made and how it was judged goes to the database."""

from typing import Any

from kfp.dsl import HTML, Dataset, Input, Metrics, Model, component

from components.image import IMAGE


@component(base_image=IMAGE, install_kfp_package=False)
def record_run(
    run_id: str,
    job_name: str,
    pipeline: str,
    parameters: dict[str, Any],
    evaluations: Input[Dataset],
    metrics: Input[Metrics],
    report: Input[HTML],
    policy: Input[Model],
    promoted: bool,
    reason: str,
    feedback_watermark: str,
    database: str,
    code_version: str,
    scored_generations: Input[Dataset] | None = None,
):
    """Records the run. Never cached, so that every run is on record.

    Args:
        run_id: The launcher's name of the run; '' where the platform names it.
        job_name: The platform's name of the run.
        pipeline: Name of the pipeline.
        parameters: The run's parameters.
        evaluations: Evaluation rows.
        metrics: The evaluation's flat numbers.
        report: The report.
        policy: The tuned policy.
        promoted: Whether the policy is promoted.
        reason: Why, or why not.
        feedback_watermark: Horizon of the feedback this run consumed; '' for none.
        database: Reference of the database; '' for DATABASE_URL.
        code_version: Digest of the library's sources; kept with the parameters.
        scored_generations: Scored generation rows, if the run logged any.
    """
    from preflow.rows import Evaluation, ScoredGeneration, read_rows
    from preflow.store import connect, database_url, record_run

    used = read_rows(scored_generations.path, ScoredGeneration) if scored_generations else []
    with connect(database_url(database)) as connection:
        record_run(
            connection,
            run_id=run_id or job_name,
            pipeline=pipeline,
            parameters={**parameters, "code_version": code_version},
            metrics=dict(metrics.metadata),
            promoted=promoted,
            reason=reason,
            report_uri=report.uri,
            policy_uri=policy.uri,
            feedback_watermark=feedback_watermark,
            generation_ids=[row.generation_id for row in used],
            evaluations=read_rows(evaluations.path, Evaluation),
        )
