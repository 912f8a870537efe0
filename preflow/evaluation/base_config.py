"""Settings of base-inference."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from preflow.settings import ModelSettings, require


class AnswerSettings(ModelSettings):
    """How evaluation prompts are answered."""

    batch_size: int = Field(128, ge=1, description="answers sampled at once")

    @property
    def max_tokens(self) -> int:
        """Longest answer that is compared, in tokens: twice the longest of training, so that few are cut off."""
        return 2 * self.target_sequence_length


class BaseInferenceConfig(AnswerSettings):
    """Which prompts the base model answers, and at which temperatures."""

    max_prompts: int = Field(128, ge=0, description="test prompts to answer, in the order of their ids; 0 takes all")
    max_validation_prompts: int = Field(
        32, ge=1, description="validation prompts to answer, which choose the base model's best temperature"
    )
    temperatures: list[float] = Field(
        [0.0, 0.7], description="sampling temperatures to judge at; 0, greedy, must be one of them"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        given = self.temperatures
        require(all(value >= 0 for value in given), "temperatures", given, "must hold no negative number")
        require(0.0 in given, "temperatures", given, "must hold 0, because the greedy answers decide the headline")
        require(len(set(given)) == len(given), "temperatures", given, "must name each temperature once")
        return self


def check(arguments: Mapping[str, Any]) -> None:
    """Raises a PreflowError if the arguments of base-inference do not make valid settings."""
    BaseInferenceConfig.of(arguments)
