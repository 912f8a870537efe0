"""promote: is the tuned policy good enough to be the next one? The verdict, and the report that shows it."""

from typing import NamedTuple

from kfp.dsl import HTML, Dataset, Input, Markdown, Output, component

from components.image import IMAGE


@component(base_image=IMAGE, install_kfp_package=False)
def promote(
    evaluations: Input[Dataset],
    training_log: Input[Dataset],
    min_win_rate: float,
    max_kl: float,
    code_version: str,
    verdict: Output[Dataset],
    report: Output[HTML],
    markdown: Output[Markdown],
) -> NamedTuple("Promotion", [("promoted", bool), ("reason", str)]):
    """Decides about promotion, says why, and writes the report.

    Args:
        evaluations: Folder of evaluation rows and summary.json.
        training_log: Training log rows.
        min_win_rate: What the lower end of each win rate by the leading judge must exceed.
        max_kl: What the upper end of the divergence from the base may reach, in nats per answer.
        code_version: Digest of this step's code; only in the cache key.
        verdict: JSON object with the decision and all reasons.
        report: The report as one HTML page.
        markdown: The report's short form.

    Returns:
        Whether the policy is promoted, and the reason in words.
    """
    from pathlib import Path

    from preflow.evaluation.verdict import PromotionConfig
    from preflow.promotion import promote

    return promote(
        evaluations=Path(evaluations.path),
        training_log=Path(training_log.path),
        verdict_out=Path(verdict.path),
        report_out=Path(report.path),
        markdown_out=Path(markdown.path),
        config=PromotionConfig.of(locals()),
    )
