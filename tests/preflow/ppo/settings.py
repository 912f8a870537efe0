"""Settings with some of them changed, and checked again."""

from typing import Any

from preflow.ppo.config import PPOConfig


def replace(config: PPOConfig, **changes: Any) -> PPOConfig:
    return PPOConfig(**{**config.model_dump(), **changes})
