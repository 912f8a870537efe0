"""PPO for language models: rollout, rewards, advantages, losses, and the loop that runs them."""

from preflow.ppo.config import PPOConfig
from preflow.ppo.trainer import optimize_policy

__all__ = ["PPOConfig", "optimize_policy"]
