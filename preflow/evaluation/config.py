"""Settings of eval-inference."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from preflow.evaluation.base_config import AnswerSettings
from preflow.scoring.registry import check_roles


class EvaluationConfig(AnswerSettings):
    """How the tuned model answers and is compared."""

    temperature: float = Field(0.85, gt=0, description="sampling temperature of training, at which the KL is measured")
    min_score_gap: float = Field(
        0.05, ge=0, description="smallest difference of label scores that is a preference the reward model should have"
    )


def check(arguments: Mapping[str, Any]) -> None:
    """Raises a PreflowError if the arguments of eval-inference do not make valid settings, or a role is wrong."""
    EvaluationConfig.of(arguments)
    check_roles(arguments["label_weights"], arguments["monitors"])
