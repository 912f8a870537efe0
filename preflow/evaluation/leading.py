"""Which judge leads, and at which temperature it likes the base model best."""

from collections.abc import Mapping, Sequence

import numpy as np

from preflow.evaluation.canary_check import may_lead
from preflow.evaluation.judging import Panel
from preflow.rows import Reply


def passed_over(panel: Panel, canaries: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """The candidates that may not lead, with the reason as the end of a sentence."""
    return {judge: why for judge in panel.candidates if (why := _objection(judge, panel, canaries))}


def mean_scores(panel: Panel, judge: str, replies: Mapping[float, Sequence[Reply]]) -> dict[float, float]:
    """The mean score of answers by a judge at each temperature, without temperatures at which it scored none.

    Args:
        panel: The judges.
        judge: The one to ask; not the reward model.
        replies: The base model's answers to validation prompts, by temperature.
    """
    found = {}
    for temperature, rows in replies.items():
        values = [value for value in panel.metric_scores(rows)[judge] if value is not None]
        if values:
            found[temperature] = float(np.mean(values))
    return found


def _objection(judge: str, panel: Panel, canaries: Mapping[str, Mapping[str, float]]) -> str:
    """Why a judge may not lead; '' if it may."""
    if panel.judges[judge]["maximized"]:
        return "was maximized by PPO"
    if not may_lead(canaries[judge]):
        worst = max(canaries[judge], key=lambda name: canaries[judge][name])
        return f"prefers the scripted answer “{worst.replace('_', ' ')}” to {canaries[judge][worst]:.0%} of references"
    return ""
