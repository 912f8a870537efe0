"""Settings of eval-inference."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from preflow.scoring.registry import check_roles
from preflow.settings import ModelSettings


class EvaluationConfig(ModelSettings):
    """Which prompts both models answer, and how."""

    batch_size: int = Field(64, ge=1, description="answers sampled at once")
    max_prompts: int = Field(128, ge=0, description="test prompts to answer, in the order of their ids; 0 takes all")
    temperature: float = Field(1.0, ge=0, description="sampling temperature; 0 takes the most likely token")

    @property
    def max_tokens(self) -> int:
        """Longest answer that is compared, in tokens: twice the longest of training."""
        return 2 * self.target_sequence_length


def check(arguments: Mapping[str, Any]) -> None:
    """Raises a PreflowError if the arguments of eval-inference do not make valid settings, or a role is wrong."""
    EvaluationConfig.of(arguments)
    check_roles(arguments["label_weights"], arguments["monitors"])
