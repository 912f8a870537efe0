"""Training of the policy on the episodes of one rollout."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from preflow.ppo.algorithm import Loss, policy_loss, value_loss
from preflow.ppo.config import PPOConfig
from preflow.ppo.minibatches import Minibatch
from preflow.ppo.policy import Policy
from preflow.ppo.processes import sum_gradients, summed
from preflow.ppo.rollout import Rollout


@dataclass
class UpdateStats:
    """Sums over the optimizer steps of an update; a skipped step adds to `skipped` only."""

    steps: int = 0
    skipped: int = 0
    left_out: int = 0
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
        """Means for the training log."""
        tokens, steps = max(self.tokens, 1), max(self.steps, 1)
        return {
            "policy_loss": self.policy_loss / tokens,
            "value_loss": self.value_loss / tokens,
            "approx_kl": self.approx_kl / tokens,
            "clip_fraction": self.clipped / tokens,
            "value_clip_fraction": self.value_clipped / tokens,
            "gradient_norm": self.gradient_norm / steps,
            "optimizer_steps": float(self.steps),
            "skipped_steps": float(self.skipped),
            "left_out_steps": float(self.left_out),
        }


def make_optimizers(policy: Policy, config: PPOConfig) -> list[torch.optim.Optimizer]:
    """One AdamW for the policy, with a group for the value head if there is one; another for a separate critic."""
    on_policy = {"params": list(policy.policy_parameters()), "lr": config.policy_rate}
    critic = list(policy.critic_parameters())
    on_critic = [{"params": critic, "lr": config.critic_rate}] if critic else []
    groups = [[on_policy, *on_critic]] if policy.critic is None else [[on_policy], on_critic]
    optimizers = [torch.optim.AdamW(group, weight_decay=0.0, eps=1e-5, fused=True) for group in groups]
    for optimizer in optimizers:
        for settings in optimizer.param_groups:
            settings["peak_lr"] = settings["lr"]
    return list(optimizers)


def update(
    policy: Policy,
    optimizers: Sequence[torch.optim.Optimizer],
    rollout: Rollout,
    config: PPOConfig,
    number: int,
) -> UpdateStats:
    """Takes up to `config.steps_per_update` optimizer steps on a rollout.

    A step whose gradient is not finite is skipped and counted. When a minibatch finds the approximate KL between the
    policy and the one that sampled above `config.target_kl`, its step and all later ones are left out and counted.

    Args:
        policy: Policy and critic.
        optimizers: Optimizers made by `make_optimizers`.
        rollout: Episodes.
        config: Settings.
        number: Number of this update, from 1.
    """
    stats, policy_learns = UpdateStats(), number > config.critic_warmup_steps
    for done, minibatch in enumerate(rollout.steps):
        _set_rates(optimizers, config.rate((number - 1) * config.steps_per_update + done))
        step = _step(policy, optimizers, rollout, minibatch, config, policy_learns)
        if step is None:
            stats.left_out = config.steps_per_update - done
            break
        stats.add(step)
    return stats


def _set_rates(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for settings in optimizer.param_groups:
            settings["lr"] = settings["peak_lr"] * rate


def _step(
    policy: Policy,
    optimizers: Sequence[torch.optim.Optimizer],
    rollout: Rollout,
    minibatch: Minibatch,
    config: PPOConfig,
    policy_learns: bool,
) -> UpdateStats | None:
    """One optimizer step on a minibatch, of which each process takes its own episodes.

    Returns None without a step if the approximate KL is above `config.target_kl`.
    """
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    tokens = rollout.mask[minibatch.rows].sum()
    sums = torch.zeros(6, dtype=torch.float64, device=tokens.device)
    for rows in minibatch.microbatches:
        sums += _accumulate(policy, rollout, rows, tokens, config, policy_learns)
    count, on_policy, on_value, approx_kl, clipped, value_clipped = summed(sums).tolist()
    if config.target_kl and approx_kl > config.target_kl * count:
        return None

    trained = [_parameters(optimizer) for optimizer in optimizers]
    norms = []
    for parameters in trained:
        sum_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, config.max_gradient_norm)
        norms.append(norm.to(tokens.device))  # without any gradient it is on the CPU
    norm = torch.stack(norms).norm()
    if not bool(torch.isfinite(norm)):
        return UpdateStats(skipped=1)
    for optimizer in optimizers:
        optimizer.step()
    return UpdateStats(
        steps=1,
        tokens=int(count),
        policy_loss=on_policy,
        value_loss=on_value,
        approx_kl=approx_kl,
        clipped=clipped,
        value_clipped=value_clipped,
        gradient_norm=float(norm),
    )


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _accumulate(
    policy: Policy, rollout: Rollout, rows: Tensor, tokens: Tensor, config: PPOConfig, policy_learns: bool
) -> Tensor:
    """Adds the gradient of one microbatch, divided by the tokens of the whole minibatch over all processes.

    Returns:
        `[6]` float64 sums: tokens, policy loss, value loss, approximate KL, clipped tokens, clipped values.
    """
    episodes = rollout.episodes.select(rows)
    mask = episodes.response_mask
    batch_rows, width = rows + rollout.own.start, mask.shape[1]
    old, advantages, old_values, returns = (
        tensor[batch_rows, :width] for tensor in (rollout.logprobs, rollout.advantages, rollout.values, rollout.returns)
    )
    if policy_learns:
        logprobs, values, _ = policy(episodes)
    else:
        logprobs, values = old, policy.values(episodes)
    on_policy = policy_loss(logprobs, old, advantages, mask, config.clip_range)
    on_value = Loss(torch.zeros_like(tokens), torch.zeros_like(tokens))
    if values is not None:
        on_value = value_loss(values, old_values, returns, mask, config.value_clip_range)
    ((on_policy.total + config.value_coeff * on_value.total) / tokens).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        change = torch.where(mask, logprobs - old, 0.0)
        approx_kl = (change.exp() - 1 - change).sum()
        sums = (mask.sum(), on_policy.total, on_value.total, approx_kl, on_policy.clipped, on_value.clipped)
        return torch.stack([value.detach().double() for value in sums])
