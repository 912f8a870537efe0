"""PPO for language models: rollout, rewards, advantages, losses, and the loop that runs them."""

from typing import TYPE_CHECKING, Any

from preflow.ppo.config import PPOConfig, ppo_config

if TYPE_CHECKING:
    from preflow.ppo.trainer import optimize_policy

__all__ = ["PPOConfig", "optimize_policy", "ppo_config"]


def __getattr__(name: str) -> Any:
    """Imports the loop, and torch with it, when it is asked for: who only checks settings needs neither."""
    if name != "optimize_policy":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from preflow.ppo.trainer import optimize_policy

    return optimize_policy
