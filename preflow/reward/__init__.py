"""The reward model: its training on pairs, its zero point, and its accuracy against simple rules."""

from preflow.reward.model import RewardModel
from preflow.reward.train import train_reward_model

__all__ = ["RewardModel", "train_reward_model"]
