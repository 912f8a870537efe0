"""build-preferences: scores, feedback and given preferences become one set of pairs."""

from kfp.dsl import Dataset, Input, Metrics, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def build_preferences(
    eval_prompts: Input[Dataset],
    min_score_gap: float,
    code_version: str,
    pairs: Output[Dataset],
    metrics: Output[Metrics],
    scored_generations: Input[Dataset] = None,
    feedback: Input[Dataset] = None,
    given_feedback: Input[Dataset] = None,
) -> None:
    """Makes preference pairs, each with its split.

    Args:
        eval_prompts: Prompt rows of the test split.
        min_score_gap: Smallest difference of two label scores that counts as a preference.
        code_version: Digest of this step's code; only in the cache key.
        pairs: Preference rows.
        metrics: Counts by source and split.
        scored_generations: Scored generation rows, if answers were scored.
        feedback: Feedback rows of the database, if it was read.
        given_feedback: Feedback rows of a preference dataset, if there is one.
    """
    from pathlib import Path

    from preflow.preferences import build_preferences

    summary = build_preferences(
        scored_generations=Path(scored_generations.path) if scored_generations else None,
        feedback=Path(feedback.path) if feedback else None,
        given_feedback=Path(given_feedback.path) if given_feedback else None,
        eval_prompts=Path(eval_prompts.path),
        min_score_gap=min_score_gap,
        output=Path(pairs.path),
    )
    metrics.metadata.update(scalars(summary, "pairs"))
