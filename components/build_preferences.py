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
    scored_generations: Input[Dataset] | None = None,
    feedback: Input[Dataset] | None = None,
    preferences: Input[Dataset] | None = None,
):
    """Makes preference pairs and gives each its split.

    Args:
        eval_prompts: Prompt rows of the test split.
        min_score_gap: Smallest difference of two label scores that counts as a preference.
        code_version: Digest of the library's sources; only in the cache key.
        pairs: Preference rows.
        metrics: Counts by source and split.
        scored_generations: Scored generation rows, if answers were scored.
        feedback: Feedback rows, if the log was read.
        preferences: Preference rows from outside, if there are any.
    """
    from pathlib import Path

    from preflow.preferences import build_preferences

    def given(artifact):  # An input that is absent or an empty file brings nothing.
        return Path(artifact.path) if artifact and Path(artifact.path).stat().st_size else None

    summary = build_preferences(
        scored_generations=given(scored_generations),
        feedback=given(feedback),
        preferences=given(preferences),
        eval_prompts=Path(eval_prompts.path),
        min_score_gap=min_score_gap,
        output=Path(pairs.path),
    )
    pairs.metadata.update(summary)
    metrics.metadata.update(scalars(summary, "pairs"))
