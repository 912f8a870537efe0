"""Train the policy on the episodes of one rollout."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from preflow.ppo.config import PPOConfig
from preflow.ppo.losses import policy_loss, value_loss
from preflow.ppo.policy import Policy
from preflow.ppo.rollout import Rollout, microbatches


@dataclass
class UpdateStats:
    """Sums over the optimizer steps of an update; of a step that is skipped, only that it was."""

    steps: int = 0
    skipped: int = 0
    tokens: int = 0
    policy_loss: float = 0.0
    value_loss: float = 0.0
    approx_kl: float = 0.0
    clipped: float = 0.0
    value_clipped: float = 0.0
    gradient_norm: float = 0.0

    def add(self, step: "UpdateStats") -> None:
        """Adds the sums of another step."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(step, field.name))

    def row(self) -> dict[str, float]:
        """The means that go into the training log."""
        tokens, steps = max(self.tokens, 1), max(self.steps, 1)
        return {
            "policy_loss": self.policy_loss / tokens,
            "value_loss": self.value_loss / tokens,
            "approx_kl": self.approx_kl / tokens,
            "clip_fraction": self.clipped / tokens,
            "value_clip_fraction": self.value_clipped / tokens,
            "gradient_norm": self.gradient_norm / steps,
            "skipped_steps": float(self.skipped),
        }


def update(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    rollout: Rollout,
    config: PPOConfig,
    generator: torch.Generator,
) -> UpdateStats:
    """Takes `config.epochs * config.minibatches` optimizer steps on a rollout.

    A step whose gradient is not finite is left out and counted.
    """
    stats = UpdateStats()
    for _ in range(config.epochs):
        order = torch.randperm(config.batch_size, generator=generator).to(rollout.episodes.ids.device)
        for rows in order.split(config.batch_size // config.minibatches):  # type: ignore[no-untyped-call]
            step = UpdateStats()
            optimizer.zero_grad(set_to_none=True)
            tokens = rollout.episodes.response_mask[rows].sum()
            for part in microbatches(rollout.episodes, rows, config.microbatch_size):
                _accumulate(policy, rollout, part, tokens, config, step)
            norm = torch.nn.utils.clip_grad_norm_(
                [parameter for group in optimizer.param_groups for parameter in group["params"]],
                config.max_gradient_norm,
            )
            if torch.isfinite(norm):
                optimizer.step()
                step.steps, step.gradient_norm = 1, float(norm)
                stats.add(step)
            else:
                stats.skipped += 1
            schedule.step()
    return stats


def _accumulate(
    policy: Policy, rollout: Rollout, rows: Tensor, tokens: Tensor, config: PPOConfig, stats: UpdateStats
) -> None:
    """Adds the gradient of one microbatch, divided by the tokens of the whole minibatch."""
    episodes = rollout.episodes.select(rows)
    mask = episodes.response_mask
    width = mask.shape[1]
    old, advantages, old_values, returns = (
        tensor[rows, :width] for tensor in (rollout.logprobs, rollout.advantages, rollout.values, rollout.returns)
    )
    outputs = policy(episodes)
    on_policy = policy_loss(outputs.logprobs, old, advantages, mask, config.clip_range)
    on_value = value_loss(outputs.values, old_values, returns, mask, config.value_clip_range)
    ((on_policy.total + config.value_coeff * on_value.total) / tokens).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        change = torch.where(mask, outputs.logprobs - old, 0.0)
        stats.tokens += int(mask.sum())
        stats.policy_loss += float(on_policy.total)
        stats.value_loss += float(on_value.total)
        stats.approx_kl += float((change.exp() - 1 - change).sum())
        stats.clipped += float(on_policy.clipped)
        stats.value_clipped += float(on_value.clipped)
