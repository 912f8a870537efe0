"""auto-score: every automated metric of every logged answer."""

from kfp.dsl import Dataset, Input, Metrics, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def auto_score(
    generations: Input[Dataset],
    prompts: Input[Dataset],
    encoder: str,
    encoder_digest: str,
    label_weights: dict[str, float],
    monitors: list[str],
    database: str,
    store_id: str,
    code_version: str,
    scored_generations: Output[Dataset],
    metrics: Output[Metrics],
) -> None:
    """Scores answers with the label metrics and the monitors, and stores the scores.

    Args:
        generations: Generation rows.
        prompts: Prompt rows, for their references.
        encoder: The sentence encoder.
        encoder_digest: Digest of its files; only in the cache key.
        label_weights: Weight of each metric that makes labels.
        monitors: Metrics that are watched and never trained on.
        database: Reference of the database; '' for DATABASE_URL.
        store_id: Identity of that database; only in the cache key.
        code_version: Digest of this step's code; only in the cache key.
        scored_generations: Scored generation rows.
        metrics: Mean of every metric.
    """
    from pathlib import Path

    from preflow.runtime import prepare_process
    from preflow.scoring.auto_score import auto_score
    from preflow.store import database_url

    prepare_process()
    summary = auto_score(
        generations=Path(generations.path),
        prompts=Path(prompts.path),
        encoder=encoder,
        label_weights=label_weights,
        monitors=monitors,
        database_url=database_url(database),
        output=Path(scored_generations.path),
    )
    metrics.metadata.update(scalars(summary, "scores"))
