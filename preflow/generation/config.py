"""Settings of log-generations."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from preflow.settings import ModelSettings, require


class GenerationConfig(ModelSettings):
    """Which prompts are answered, and how."""

    num_prompts: int = Field(128, ge=0, description="train prompts to answer, in the order of their ids; 0 takes all")
    num_validation_prompts: int = Field(
        64, ge=0, description="validation prompts to answer, which the reward model is measured on; 0 takes all"
    )
    num_samples: int = Field(4, ge=1, description="answers per prompt")
    temperature: float = Field(ge=0, description="sampling temperature; 0 takes the most likely token")
    batch_size: int = Field(128, ge=1, description="answers sampled at once")
    shard: int = Field(0, ge=0, description="which of `num_shards` interleaved parts of the prompts to answer, from 0")
    num_shards: int = Field(1, ge=1, description="number of parts that the prompts are divided into")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        require(self.shard < self.num_shards, "shard", self.shard, f"must be below `num_shards`, {self.num_shards}")
        require(
            self.temperature > 0 or self.num_samples == 1,
            "num_samples",
            self.num_samples,
            "must be 1 where `temperature` is 0, because all answers to a prompt are then the same",
        )
        return self


def check(arguments: Mapping[str, Any]) -> None:
    """Raises a PreflowError if the arguments of log-generations do not make valid settings."""
    GenerationConfig.of(arguments)
