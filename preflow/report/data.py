"""The data of a report: what the evaluation wrote, the training log, and the verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preflow.evaluation.names import ROLES, JudgeRole
from preflow.evaluation.verdict import PromotionConfig, Verdict, reach_verdict
from preflow.evaluation.win_rates import WinRate
from preflow.rows import Evaluation, read_records, read_rows
from preflow.uris import read_bytes

GREEDY = "0"


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows. The same data always gives the same report.

    Attributes:
        evaluations: One row per test prompt, with the greedy answers `base` and `tuned`.
        summary: What `eval_inference` found.
        training_log: The rows that `ppo_optimize` logged, one per update; may be empty.
        verdict: Whether the policy is promoted, and why.
        examples: Number of side-by-side answers that are shown open.
    """

    evaluations: Sequence[Evaluation]
    summary: Mapping[str, Any]
    training_log: Sequence[Mapping[str, Any]]
    verdict: Verdict
    examples: int = 8

    @property
    def judge_roles(self) -> dict[str, JudgeRole]:
        """The role of every judge, by role and then in the order given."""
        roles: dict[str, JudgeRole] = {judge: about["role"] for judge, about in self.summary["judges"].items()}
        return dict(sorted(roles.items(), key=lambda item: ROLES.index(item[1])))

    @property
    def judges(self) -> list[str]:
        """All judges, by role and then in the order given."""
        return list(self.judge_roles)

    @property
    def headline_judge(self) -> str | None:
        """The judge that decides who won a prompt: the one that leads, or the first one if none may."""
        return self.verdict.lead or next(iter(self.judges), None)

    @property
    def win_rates(self) -> dict[str, WinRate]:
        """Greedy win rates by judge, without the judges that scored no prompt."""
        return self.win_rates_at(GREEDY)

    @property
    def base(self) -> Mapping[str, float | None]:
        """The base model's measures."""
        base: Mapping[str, float | None] = self.summary["base"]
        return base

    @property
    def tuned(self) -> Mapping[str, float | None]:
        """The tuned model's measures."""
        tuned: Mapping[str, float | None] = self.summary["tuned"]
        return tuned

    def win_rates_at(self, temperature: str) -> dict[str, WinRate]:
        """Win rates by judge at a temperature, such as "0.7"."""
        return {judge: WinRate(**rate) for judge, rate in self.summary["temperatures"][temperature].items()}


def read_report_data(evaluations: Path, training_log: Path, config: PromotionConfig) -> ReportData:
    """Reads the files of an evaluation and reaches the verdict.

    Args:
        evaluations: Folder that `eval_inference` wrote.
        training_log: File of training log rows.
        config: Thresholds of promotion.

    Raises:
        PreflowError: A file is missing or invalid.
    """
    summary = json.loads(read_bytes(str(evaluations / "summary.json")))
    rows = read_rows(evaluations / "evaluations.jsonl", Evaluation)
    return ReportData(
        evaluations=[row for row in rows if row.temperature == 0],
        summary=summary,
        training_log=[record for _, record in read_records(training_log, allow_empty=True)],
        verdict=reach_verdict(summary, config),
    )


def number_in(summary: Mapping[str, Any], key: str) -> float | None:
    """A number of a summary, or None if it is missing or not a number."""
    value = summary.get(key)
    return float(value) if isinstance(value, int | float) else None
