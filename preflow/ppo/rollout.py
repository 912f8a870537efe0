"""Sample episodes with the policy and work out what each token was worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from preflow.chat import encode_prompt
from preflow.generation.sampler import decode, sample
from preflow.models import eos_ids
from preflow.ppo.advantages import gae
from preflow.ppo.config import PPOConfig
from preflow.ppo.kl import k1
from preflow.ppo.masked import whiten
from preflow.ppo.policy import Episodes, Policy
from preflow.ppo.rewards import leave_one_out, penalise_missing_eos, replace_nonfinite, token_rewards
from preflow.reward.model import RewardModel
from preflow.rows import Prompt


@dataclass(frozen=True)
class Rollout:
    """The episodes of one update. B episodes, responses of up to T tokens.

    Attributes:
        episodes: Their tokens.
        stopped: `[B]` bool, ended by themselves.
        scores: `[B]` what the reward model said, all of them numbers.
        logprobs: `[B, T]` of the policy that sampled, by the training forward.
        reference: `[B, T]` of the reference.
        values: `[B, T]`.
        entropy: `[B, T]`.
        advantages: `[B, T]`, whitened.
        returns: `[B, T]`.
        sampler_gap: Mean absolute difference between the sampler's log-probabilities and the training forward's.
        nonfinite_scores: How many scores were no numbers and count as the mean of the others.
    """

    episodes: Episodes
    stopped: Tensor
    scores: Tensor
    logprobs: Tensor
    reference: Tensor
    values: Tensor
    entropy: Tensor
    advantages: Tensor
    returns: Tensor
    sampler_gap: float
    nonfinite_scores: int


def collect(
    prompts: Sequence[Prompt],
    policy: Policy,
    sampler: Any,
    tokenizer: Any,
    reward_model: RewardModel,
    config: PPOConfig,
    generator: torch.Generator,
) -> Rollout:
    """Samples one response to each prompt and evaluates it.

    Args:
        prompts: One an episode, `config.samples_per_prompt` times the same one in a row.
        policy: The policy as it is trained.
        sampler: The model to sample with; holds the same weights.
        tokenizer: Of the policy.
        reward_model: Scores whole responses, with its zero point.
        config: Settings.
        generator: Where the random numbers come from.
    """
    samples = sample(
        sampler,
        [encode_prompt(tokenizer, row.prompt) for row in prompts],
        uniforms=torch.rand(len(prompts), config.target_sequence_length, generator=generator),
        temperature=config.temperature,
        eos_ids=eos_ids(sampler, tokenizer),
        pad_id=tokenizer.pad_token_id,
    )
    said = reward_model.score([row.prompt for row in prompts], decode(samples, tokenizer)).to(samples.ids.device)
    scores, nonfinite = replace_nonfinite(said)
    episodes = _encoded(
        Episodes(samples.ids, samples.prompt_mask, samples.response_mask), policy, config.microbatch_size
    )
    logprobs, reference, values, entropy = _evaluate(episodes, policy, config.microbatch_size)
    mask = episodes.response_mask
    final = penalise_missing_eos(scores, samples.stopped, config.missing_eos_penalty)
    final = leave_one_out(final, config.samples_per_prompt)
    rewards = token_rewards(final, k1(logprobs, reference), mask, config.kl_coeff)
    advantages, returns = gae(rewards, values, mask, config.gamma, config.gae_lambda)
    gap = ((samples.logprobs - logprobs).abs() * mask).sum() / mask.sum()
    return Rollout(
        episodes,
        samples.stopped,
        scores,
        logprobs,
        reference,
        values,
        entropy,
        whiten(advantages, mask),
        returns,
        float(gap),
        nonfinite,
    )


def microbatches(episodes: Episodes, rows: Tensor, size: int) -> list[Tensor]:
    """`rows` cut into groups of at most `size` of similar length, so that little of a group is padding."""
    lengths = episodes.prompt_mask[rows].sum(1) + episodes.response_mask[rows].sum(1)
    return list(rows[lengths.argsort(descending=True)].split(size))  # type: ignore[no-untyped-call]


def _encoded(episodes: Episodes, policy: Policy, size: int) -> Episodes:
    """The episodes with the states of the layers that are not trained, where the policy keeps such states."""
    parts = [
        policy.encode(Episodes(*(tensor[rows] for tensor in episodes[:3])))
        for rows in torch.arange(len(episodes.ids), device=episodes.ids.device).split(size)  # type: ignore[no-untyped-call]
    ]
    return episodes._replace(
        hidden=torch.cat([part for part in parts if part is not None]) if parts[0] is not None else None
    )


@torch.no_grad()
def _evaluate(episodes: Episodes, policy: Policy, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities, reference log-probabilities, values and entropies of all episodes, `[B, T]` each."""
    logprobs, reference, values, entropy = (
        torch.zeros(episodes.response_mask.shape, device=episodes.ids.device) for _ in range(4)
    )
    for rows in microbatches(episodes, torch.arange(len(episodes.ids), device=episodes.ids.device), size):
        part = episodes.select(rows)
        outputs = policy(part, entropy=True)
        width = part.response_mask.shape[1]
        logprobs[rows, :width] = outputs.logprobs
        values[rows, :width] = outputs.values
        entropy[rows, :width] = outputs.entropy
        reference[rows, :width] = policy.reference_logprobs(part)
    return logprobs, reference, values, entropy
