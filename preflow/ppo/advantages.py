"""Generalised advantage estimation, arXiv:1506.02438."""

import torch
from torch import Tensor


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Advantages and returns of finished episodes.

    `delta_t = r_t + gamma * V_{t+1} - V_t` and `A_t = delta_t + gamma * lam * A_{t+1}` (eq. 11 and 16), with a value of
    0 after the last token; the return is `A_t + V_t`.

    Args:
        rewards: `[B, T]`.
        values: `[B, T]` values before each token.
        mask: `[B, T]` bool, true on response tokens: a run from the left.
        gamma: Discount.
        lam: Weight of longer estimates.

    Returns:
        Advantages and returns, `[B, T]` each, 0 outside the mask.
    """
    values = torch.where(mask, values, 0.0)
    rewards = torch.where(mask, rewards, 0.0)
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    for step in reversed(range(rewards.shape[1])):
        after = values[:, step + 1] if step + 1 < rewards.shape[1] else torch.zeros_like(following)
        delta = rewards[:, step] + gamma * after - values[:, step]
        following = (delta + gamma * lam * following) * mask[:, step]
        advantages[:, step] = following
    return advantages, advantages + values
