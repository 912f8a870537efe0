"""From one score an episode to a reward a token."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class RewardStatistics:
    """Mean and squared deviations of all scores so far, whatever pieces they came in.

    Attributes:
        count: How many scores there were.
        mean: Their mean.
        squares: The sum of their squared deviations from it.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def including(self, scores: Tensor) -> "RewardStatistics":
        """With `[B]` more scores (Chan, Golub and LeVeque, 1983, eq. 1.5)."""
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
        """The (biased) standard deviation, 1 where scores do not differ."""
        return (self.squares / self.count) ** 0.5 if self.count and self.squares > 0 else 1.0


def clipped(scores: Tensor, bound: float) -> tuple[Tensor, float]:
    """Scores `[B]` cut to plus and minus `bound`, and the share that was cut; a bound of 0 cuts none."""
    if bound == 0:
        return scores, 0.0
    return scores.clamp(-bound, bound), float((scores.abs() > bound).float().mean())


def replace_nonfinite(scores: Tensor) -> Tensor:
    """Scores `[B]` with those that are no numbers replaced by the mean of the others, 0 where there are none.

    One such score would spoil the advantages of all episodes of its update; the mean teaches nothing of its own.
    """
    finite = torch.isfinite(scores)
    others = scores[finite].mean() if bool(finite.any()) else scores.new_zeros(())
    return torch.where(finite, scores, others)


def penalise_missing_eos(
    scores: Tensor, stopped: Tensor, penalty: float, missing_eos: Literal["subtract", "replace"]
) -> Tensor:
    """Punishes episodes that did not end by themselves.

    Args:
        scores: `[B]`.
        stopped: `[B]` bool.
        penalty: In units of the score.
        missing_eos: "subtract" takes the penalty off their scores, which keeps their order. "replace" makes its
            negative their score (arXiv:1909.08593; arXiv:2403.17031, detail 23), which needs scores that have a zero.
    """
    punished = scores - penalty if missing_eos == "subtract" else torch.full_like(scores, -penalty)
    return torch.where(stopped, scores, punished)


def leave_one_out(scores: Tensor, samples_per_prompt: int) -> Tensor:
    """Each score less the mean of the other scores of its prompt (arXiv:2402.14740, eq. 9); unchanged for one sample.

    Args:
        scores: `[B]`, the samples of a prompt next to each other.
        samples_per_prompt: How many there are of each prompt.
    """
    if samples_per_prompt == 1:
        return scores
    groups = scores.view(-1, samples_per_prompt)
    others = (groups.sum(1, keepdim=True) - groups) / (samples_per_prompt - 1)
    return (groups - others).flatten()


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, kl_coeff: float) -> Tensor:
    """The reward of each token: the KL penalty everywhere, and the score on the last token.

    arXiv:1909.08593, eq. 2, with the penalty spread over the tokens. The score stands on the last sampled token (the
    end-of-sequence token where there is one), not on a pad after it.

    Args:
        scores: `[B]` scores of whole episodes.
        kl: `[B, T]` per-token KL (k1).
        mask: `[B, T]` bool, true on response tokens: a run from the left, at least one a row.
        kl_coeff: Weight of the penalty.

    Returns:
        `[B, T]`, 0 outside the mask.
    """
    rewards = torch.where(mask, -kl_coeff * kl, 0.0)
    last = mask.sum(1) - 1
    rewards[torch.arange(len(scores)), last] += scores
    return rewards
