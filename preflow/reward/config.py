"""Settings of train-reward-model."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from preflow.settings import ModelSettings


class RewardModelConfig(ModelSettings):
    """How a reward model is trained."""

    train_steps: int = Field(80, ge=1, description="optimizer steps")
    batch_size: int = Field(32, ge=1, description="pairs per step")
    learning_rate: float = Field(
        5e-5, gt=0, description="peak learning rate of AdamW on the backbone; the head gets a hundred times as much"
    )
    prompt_sequence_length: int = Field(512, ge=1, description="longest prompt in tokens")

    @property
    def max_length(self) -> int:
        """Longest text that the model reads, in tokens: a prompt and its answer."""
        return self.prompt_sequence_length + self.target_sequence_length


def check(arguments: Mapping[str, Any]) -> None:
    """Raises a PreflowError if the arguments of train-reward-model do not make valid settings."""
    RewardModelConfig.of(arguments)
