"""Decide whether a tuned policy is the next one, and report the finding."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preflow.evaluation.verdict import PromotionConfig
from preflow.writing import write_text


def check(arguments: Mapping[str, Any]) -> None:
    """Raises a PreflowError if a threshold is out of range."""
    PromotionConfig.of(arguments)


def promote(
    *,
    evaluations: Path,
    training_log: Path,
    verdict_out: Path,
    report_out: Path,
    markdown_out: Path,
    config: PromotionConfig,
) -> tuple[bool, str]:
    """Reaches the verdict on an evaluation, and writes it with the report. Nothing is evaluated again.

    Args:
        evaluations: Folder that `eval_inference` wrote.
        training_log: File of training log rows, for the report.
        verdict_out: JSON file to write: `promoted`, `lead`, the `reason` in a sentence, and all `reasons`.
        report_out: HTML file to write.
        markdown_out: Markdown file to write.
        config: Thresholds.

    Returns:
        Whether the policy is promoted, and the reason.

    Raises:
        PreflowError: A file is missing or invalid.
    """
    # The launcher checks thresholds without what a report needs.
    from preflow.report.data import read_report_data
    from preflow.report.markdown import render_markdown
    from preflow.report.page import render_report

    data = read_report_data(evaluations, training_log, config)
    verdict = data.verdict
    found = {
        "promoted": verdict.promoted,
        "lead": verdict.lead,
        "reason": verdict.reason,
        "reasons": verdict.reasons,
    }
    write_text(report_out, render_report(data))
    write_text(markdown_out, render_markdown(data))
    write_text(verdict_out, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return verdict.promoted, verdict.reason
