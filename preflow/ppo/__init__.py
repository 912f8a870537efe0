"""PPO for language models: rollout, rewards, advantages, losses, and the loop that runs them."""

from preflow.ppo.config import PPOConfig, ppo_config
from preflow.ppo.trainer import optimize_policy

__all__ = ["PPOConfig", "optimize_policy", "ppo_config"]
