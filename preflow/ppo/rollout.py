"""Rollout: episodes sampled with the policy, and the advantage of each token."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from preflow.generation.sampler import Samples
from preflow.ppo.algorithm import (
    RewardStatistics,
    clipped,
    gae,
    k1,
    leave_one_out,
    penalise_missing_eos,
    token_rewards,
    whiten,
)
from preflow.ppo.config import PPOConfig
from preflow.ppo.minibatches import Minibatch, microbatches, planned_steps
from preflow.ppo.policy import Policy
from preflow.ppo.prefix_packing import Episodes, unpacked
from preflow.ppo.processes import gathered, own_rows
from preflow.ppo.reward_sources import Answers, Source, parts_of, total_of
from preflow.ppo.sampling_copy import SamplingCopy
from preflow.rows import Prompt
from preflow.scoring.repetition import distinct_share


@dataclass(frozen=True)
class Rollout:
    """The episodes of one update: B episodes of all processes, with responses of up to T tokens.

    Attributes:
        episodes: Tokens of this process's rows.
        own: Slice of the B rows that are this process's.
        steps: Minibatches of the update's optimizer steps.
        mask: `[B, T]` bool, true on response tokens.
        stopped: `[B]` bool, true for episodes that ended with an end-of-sequence token.
        scores: `[B]` weighted sums of the parts of the reward, all finite.
        parts: Mean score of each part that has any, by name.
        distinct: `[B]` shares of three-word sequences that occur only once.
        logprobs: `[B, T]` log-probabilities under the policy that sampled, from the training forward pass.
        reference: `[B, T]` log-probabilities under the reference.
        values: `[B, T]` values before each token, 0 without a critic.
        entropy: `[B, T]` entropies of the distribution over the next token.
        advantages: `[B, T]` whitened advantages.
        returns: `[B, T]` returns.
        statistics: Statistics of all scores of the run so far.
        clipped_scores: Share of scores that `reward_clip` clipped.
        nonfinite_scores: Number of answers without a score by some part, which counts as the mean of the others.
        sampler_gap: Mean absolute difference between the log-probabilities of the sampler and of the training forward.
        seconds: Duration of sampling, scoring and evaluation.
    """

    episodes: Episodes
    own: slice
    steps: list[Minibatch]
    mask: Tensor
    stopped: Tensor
    scores: Tensor
    parts: dict[str, float]
    distinct: Tensor
    logprobs: Tensor
    reference: Tensor
    values: Tensor
    entropy: Tensor
    advantages: Tensor
    returns: Tensor
    statistics: RewardStatistics
    clipped_scores: float
    nonfinite_scores: int
    sampler_gap: float
    seconds: dict[str, float]

    @property
    def kl(self) -> float:
        """Mean KL (k1) between the policy that sampled and the reference, in nats per response."""
        return float((k1(self.logprobs, self.reference) * self.mask).sum(1).mean())


def collect_rollout(
    prompts: Sequence[Prompt],
    policy: Policy,
    sampler: SamplingCopy,
    tokenizer: Any,
    sources: Mapping[str, Source],
    config: PPOConfig,
    generator: torch.Generator,
    *,
    kl_coeff: float,
    statistics: RewardStatistics,
) -> Rollout:
    """Samples one response to each prompt and evaluates it.

    Args:
        prompts: One prompt per episode, each `config.samples_per_prompt` times in a row.
        policy: Policy that is trained.
        sampler: Copy with the same weights that samples.
        tokenizer: Tokenizer of the policy.
        sources: Parts of the reward.
        config: Settings.
        generator: Generator of the random numbers, in the same state in every process.
        kl_coeff: Weight of the KL penalty in this update.
        statistics: Statistics of the scores before this update.
    """
    own, seconds = own_rows(config), {}
    started = time.monotonic()
    uniforms = torch.rand(len(prompts), config.target_sequence_length, generator=generator)
    samples, texts = sampler.answer(prompts[own], tokenizer, config, uniforms[own])
    seconds["sampling"] = time.monotonic() - started

    started = time.monotonic()
    device = samples.ids.device
    answers = Answers(prompts[own], texts, samples.stopped.tolist())
    parts = {name: gathered(scores.to(device)) for name, scores in parts_of(sources, answers).items()}
    seconds["scoring"] = time.monotonic() - started

    started = time.monotonic()
    episodes = unpacked(samples.ids, samples.prompt_mask, samples.response_mask, samples.states)
    episodes = replace(episodes, pack=policy.assign_packs(episodes, config.microbatch_tokens))
    steps = planned_steps(episodes, own, config, generator)
    # The first epoch reads the same microbatches: in others, bfloat16 would round differently, and ratios not be 1.
    first_epoch = [rows for minibatch in steps[: config.minibatches] for rows in minibatch.microbatches]
    evaluated = _evaluate(episodes, policy, first_epoch)
    seconds["evaluation"] = time.monotonic() - started

    # From here on, every process has the tokens of all processes and computes the same.
    mask, sampled, logprobs, reference, values, entropy = (
        gathered(_widened(tensor, config.target_sequence_length))
        for tensor in (samples.response_mask, samples.logprobs, *evaluated)
    )
    stopped = gathered(samples.stopped)
    distinct = gathered(torch.tensor([distinct_share(text) for text in texts], device=device))
    scores, nonfinite = total_of(sources, parts)
    statistics = statistics.including(scores)
    final, clipped_scores = clipped(
        scores / statistics.deviation if config.normalize_reward else scores, config.reward_clip
    )
    final = penalise_missing_eos(final, stopped, config.missing_eos_penalty, config.missing_eos)
    final = leave_one_out(final, config.samples_per_prompt)
    rewards = token_rewards(final, k1(logprobs, reference), mask, kl_coeff)
    advantages, returns = gae(rewards, values, mask, config.gamma, config.gae_lambda)
    return Rollout(
        episodes=episodes,
        own=own,
        steps=steps,
        mask=mask,
        stopped=stopped,
        scores=scores,
        parts={
            name: float(scores[scores.isfinite()].mean()) for name, scores in parts.items() if scores.isfinite().any()
        },
        distinct=distinct,
        logprobs=logprobs,
        reference=reference,
        values=values,
        entropy=entropy,
        advantages=whiten(advantages, mask),
        returns=returns,
        statistics=statistics,
        clipped_scores=clipped_scores,
        nonfinite_scores=nonfinite,
        sampler_gap=float(((sampled - logprobs).abs() * mask).sum() / mask.sum()),
        seconds=seconds,
    )


def response_kl(samples: Samples, policy: Policy, config: PPOConfig) -> Tensor:
    """`[B]` KL (k1) of sampled responses between the policy and the reference, in nats."""
    episodes = unpacked(samples.ids, samples.prompt_mask, samples.response_mask, samples.states)
    rows = torch.arange(len(samples.ids), device=samples.ids.device)
    logprobs, reference, *_ = _evaluate(episodes, policy, microbatches(episodes, rows, config.microbatch_tokens))
    return (k1(logprobs, reference) * samples.response_mask).sum(1)


def _widened(tensor: Tensor, width: int) -> Tensor:
    """`[B, T]` padded with zero columns to `width`, so that all processes have the same shape."""
    return nn.functional.pad(tensor, (0, width - tensor.shape[1]))


@torch.no_grad()
def _evaluate(
    episodes: Episodes, policy: Policy, microbatches: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities, reference log-probabilities, values and entropies of episodes, `[B, T]` each."""
    logprobs, reference, values, entropy = (
        torch.zeros(episodes.response_mask.shape, device=episodes.ids.device) for _ in range(4)
    )
    for rows in microbatches:
        part = episodes.select(rows)
        outputs = policy(part, entropy=True)
        logprobs[rows], entropy[rows] = outputs.logprobs, outputs.entropy
        if outputs.values is not None:
            values[rows] = outputs.values
        reference[rows] = policy.reference_logprobs(part)
    return logprobs, reference, values, entropy
