"""PPO for language models: rollout, rewards, advantages, losses, and the loop that runs them."""

from typing import TYPE_CHECKING, Any

from preflow.ppo.config import PPOConfig

if TYPE_CHECKING:
    from preflow.ppo.trainer import ppo_optimize

__all__ = ["PPOConfig", "ppo_optimize"]


def __getattr__(name: str) -> Any:
    """Imports the loop, and torch with it, on first use: checking settings needs neither."""
    if name != "ppo_optimize":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from preflow.ppo.trainer import ppo_optimize

    return ppo_optimize
