"""The clipped losses of PPO, arXiv:1707.06347, as sums over tokens.

Sums, not means: the caller divides by the number of tokens of the whole minibatch, so that how it is cut into
microbatches changes nothing.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Loss(NamedTuple):
    """A summed loss, and how many tokens were clipped (both scalars)."""

    total: Tensor
    clipped: Tensor


def policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float) -> Loss:
    """The clipped surrogate, eq. 7: the sum of `max(-A * ratio, -A * clamp(ratio, 1 - clip, 1 + clip))`.

    Args:
        logprobs: `[B, T]` of the policy as it is now.
        old: `[B, T]` of the policy that sampled.
        advantages: `[B, T]`.
        mask: `[B, T]` bool.
        clip: Largest useful change of the ratio.
    """
    ratio = torch.where(mask, logprobs - old, 0.0).exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    loss = torch.where(mask, torch.maximum(unclipped, clipped), 0.0)
    return Loss(loss.sum(), ((clipped > unclipped) & mask).sum())


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float) -> Loss:
    """Half the squared error, the larger of with and without the value's change clipped (OpenAI baselines).

    Args:
        values: `[B, T]` as they are now.
        old: `[B, T]` when the episodes were sampled.
        returns: `[B, T]`.
        mask: `[B, T]` bool.
        clip: Largest useful change of a value.
    """
    unclipped = (values - returns) ** 2
    clipped = (old + (values - old).clamp(-clip, clip) - returns) ** 2
    loss = torch.where(mask, 0.5 * torch.maximum(unclipped, clipped), 0.0)
    return Loss(loss.sum(), ((clipped > unclipped) & mask).sum())
