"""From one score an episode to a reward a token."""

import torch
from torch import Tensor


def replace_nonfinite(scores: Tensor) -> tuple[Tensor, int]:
    """Scores `[B]` with those that are no numbers replaced by the mean of the others, and how many those were.

    One such score would spoil the advantages of all episodes of its update; the mean teaches nothing of its own.
    """
    finite = torch.isfinite(scores)
    others = scores[finite].mean() if bool(finite.any()) else scores.new_zeros(())
    return torch.where(finite, scores, others), int((~finite).sum())


def penalise_missing_eos(scores: Tensor, stopped: Tensor, penalty: float) -> Tensor:
    """Subtracts `penalty` from the scores of episodes that did not end by themselves.

    Subtracting keeps the order of the truncated ones; replacing their score would throw it away.

    Args:
        scores: `[B]`.
        stopped: `[B]` bool.
        penalty: In units of the score.
    """
    return scores - penalty * (~stopped).to(scores.dtype)


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
