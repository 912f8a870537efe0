"""The mathematics of PPO as functions of tensors: rewards, KL, advantages and losses.

Shapes: B episodes of up to T response tokens. A mask is `[B, T]` bool and true on response tokens, which are a run from
the left.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

_LARGEST_ERROR = 0.2


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is true: the sum over the number of all tokens, not a mean of row means."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """`values` shifted and scaled to mean 0 and (biased) variance 1 over `mask`, and 0 outside it.

    OpenAI's code uses the biased variance, TRL's the unbiased one (arXiv:2403.17031, detail on whitening).
    """
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    return (values - mean) * (variance + 1e-8).rsqrt() * mask


def k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """KL(policy || reference) per token, any shape, estimated by `logprobs - reference`: unbiased, may be negative.

    J. Schulman, "Approximating KL divergence", 2020. As part of the reward, its gradient is that of the true KL.
    """
    return logprobs - reference


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """KL per token, any shape, estimated by `exp(r) - 1 - r` with `r = reference - logprobs`.

    Unbiased, never negative, and with less variance than `k1`. For monitoring, not for the reward.
    """
    difference = reference - logprobs
    return difference.exp() - 1 - difference


def adapted(kl_coeff: float, kl: float, target: float, episodes: int, horizon: float) -> float:
    """KL coefficient of the next update, raised if `kl` is above `target` and lowered if it is below.

    `kl_coeff * (1 + clip(kl / target - 1, -0.2, 0.2) * episodes / horizon)`, arXiv:1909.08593, section 2.2.

    Args:
        kl_coeff: Coefficient of the update that ends.
        kl: Mean KL of its episodes in nats per response.
        target: Desired KL in nats per response; 0 leaves the coefficient unchanged.
        episodes: Number of episodes in the update.
        horizon: Episodes over which the coefficient may change by a fifth.
    """
    if target == 0:
        return kl_coeff
    error = max(-_LARGEST_ERROR, min(_LARGEST_ERROR, kl / target - 1))
    return kl_coeff * (1 + error * episodes / horizon)


@dataclass(frozen=True)
class RewardStatistics:
    """Running mean and squared deviations of all scores, independent of how they were batched.

    Attributes:
        count: Number of scores.
        mean: Mean of the scores.
        squares: Sum of their squared deviations from the mean.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def including(self, scores: Tensor) -> "RewardStatistics":
        """The statistics with `[B]` more scores (Chan, Golub and LeVeque, 1983, eq. 1.5)."""
        count, mean = self.count + len(scores), float(scores.double().mean())
        squares = float(((scores.double() - mean) ** 2).sum())
        change = mean - self.mean
        return RewardStatistics(
            count,
            self.mean + change * len(scores) / count,
            self.squares + squares + change**2 * self.count * len(scores) / count,
        )

    @property
    def deviation(self) -> float:
        """The (biased) standard deviation, 1 if all scores are equal."""
        return (self.squares / self.count) ** 0.5 if self.count and self.squares > 0 else 1.0


def clipped(scores: Tensor, bound: float) -> tuple[Tensor, float]:
    """`[B]` scores clipped to plus and minus `bound`, and the share that was clipped; a bound of 0 clips none."""
    if bound == 0:
        return scores, 0.0
    return scores.clamp(-bound, bound), float((scores.abs() > bound).float().mean())


def replace_nonfinite(scores: Tensor) -> Tensor:
    """`[B]` scores in which the mean of the finite ones replaces the others; 0 if none is finite.

    A single NaN would spoil the advantages of all episodes of its update. The mean carries no signal of its own.
    """
    finite = torch.isfinite(scores)
    others = scores[finite].mean() if bool(finite.any()) else scores.new_zeros(())
    return torch.where(finite, scores, others)


def penalise_missing_eos(
    scores: Tensor, stopped: Tensor, penalty: float, missing_eos: Literal["subtract", "replace"]
) -> Tensor:
    """Penalises episodes that hit the length limit.

    Args:
        scores: `[B]` scores.
        stopped: `[B]` bool, true for episodes that ended with an end-of-sequence token.
        penalty: Size of the penalty, in units of the score.
        missing_eos: "subtract" takes the penalty off their scores, which keeps their order. "replace" makes its
            negative their score (arXiv:1909.08593; arXiv:2403.17031, detail 23), which needs scores with a zero point.
    """
    penalised = scores - penalty if missing_eos == "subtract" else torch.full_like(scores, -penalty)
    return torch.where(stopped, scores, penalised)


def leave_one_out(scores: Tensor, samples_per_prompt: int) -> Tensor:
    """Each score less the mean of its prompt's other scores (arXiv:2402.14740, eq. 9); unchanged for one sample.

    Args:
        scores: `[B]` scores, the samples of a prompt next to each other.
        samples_per_prompt: Number of samples of each prompt.
    """
    if samples_per_prompt == 1:
        return scores
    groups = scores.view(-1, samples_per_prompt)
    others = (groups.sum(1, keepdim=True) - groups) / (samples_per_prompt - 1)
    return (groups - others).flatten()


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, kl_coeff: float) -> Tensor:
    """Reward of each token: the KL penalty on every token, and the score on the last one.

    arXiv:1909.08593, eq. 2, with the penalty spread over the tokens. The score goes to the last sampled token (the
    end-of-sequence token if there is one), not to a pad after it.

    Args:
        scores: `[B]` scores of whole episodes.
        kl: `[B, T]` per-token KL (k1).
        mask: Response tokens, at least one per row.
        kl_coeff: Weight of the penalty.

    Returns:
        `[B, T]`, 0 outside the mask.
    """
    rewards = torch.where(mask, -kl_coeff * kl, 0.0)
    last = mask.sum(1) - 1
    rewards[torch.arange(len(scores)), last] += scores
    return rewards


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (arXiv:1506.02438) for finished episodes.

    `delta_t = r_t + gamma * V_{t+1} - V_t` and `A_t = delta_t + gamma * lam * A_{t+1}` (eq. 11 and 16), with a value of
    0 after the last token; the return is `A_t + V_t`.

    Args:
        rewards: `[B, T]` rewards.
        values: `[B, T]` values before each token.
        mask: Response tokens.
        gamma: Discount factor.
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


class Loss(NamedTuple):
    """A loss summed over tokens, and the number of clipped tokens (both scalars).

    A sum, not a mean: the caller divides by the number of tokens of the whole minibatch, so the result does not depend
    on how it is cut into microbatches.
    """

    total: Tensor
    clipped: Tensor


def policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, clip: float) -> Loss:
    """Clipped surrogate (arXiv:1707.06347, eq. 7): sum of `max(-A * ratio, -A * clamp(ratio, 1 - clip, 1 + clip))`.

    Args:
        logprobs: `[B, T]` log-probabilities under the current policy.
        old: `[B, T]` log-probabilities under the policy that sampled.
        advantages: `[B, T]` advantages.
        mask: Response tokens.
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
        values: `[B, T]` current values.
        old: `[B, T]` values when the episodes were sampled.
        returns: `[B, T]` returns.
        mask: Response tokens.
        clip: Largest useful change of a value.
    """
    unclipped = (values - returns) ** 2
    clipped = (old + (values - old).clamp(-clip, clip) - returns) ** 2
    loss = torch.where(mask, 0.5 * torch.maximum(unclipped, clipped), 0.0)
    return Loss(loss.sum(), ((clipped > unclipped) & mask).sum())
