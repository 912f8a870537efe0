"""Answers to validation prompts during training: do metrics that are not optimized rise with the reward?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from preflow.errors import PreflowError
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from preflow.ppo.reward_parts import check_monitors
from preflow.ppo.reward_sources import Answers, Source, metric_scores, parts_of, total_of
from preflow.ppo.rollout import response_kl
from preflow.ppo.sampling_copy import SamplingCopy
from preflow.rows import Prompt
from preflow.scoring.metric import Embed

_SIGNIFICANT = 2.0  # standard errors

Scores = dict[str, list[float]]
"""A number for each validation prompt, by `reward`, `kl` (if the best policy is kept) or monitor.

A monitor's is NaN where it does not apply.
"""


@dataclass(frozen=True)
class Validation:
    """Prompts to answer during training, and what judges the answers.

    Attributes:
        prompts: Validation prompts, the same each time.
        sources: Parts of the reward.
        monitors: Metrics that are not part of the reward.
        embed: Embedding for monitors that compare meanings.
    """

    prompts: Sequence[Prompt]
    sources: Mapping[str, Source]
    monitors: Sequence[str]
    embed: Embed

    def scores(self, policy: Policy, sampler: SamplingCopy, tokenizer: Any, config: PPOConfig) -> Scores:
        """Answers the prompts with the same random numbers each time and scores the answers."""
        generator = torch.Generator().manual_seed(config.seed)
        uniforms = torch.rand(len(self.prompts), config.target_sequence_length, generator=generator)
        samples, texts = sampler.answer(self.prompts, tokenizer, config, uniforms)
        answers = Answers(self.prompts, texts, samples.stopped.tolist())
        return {
            "reward": total_of(self.sources, parts_of(self.sources, answers))[0].tolist(),
            **({"kl": response_kl(samples, policy, config).tolist()} if config.keep_best else {}),
            **{name: metric_scores(name, self.embed, answers).tolist() for name in self.monitors},
        }


def load_validation(
    prompts: Sequence[Prompt],
    sources: Mapping[str, Source],
    monitors: Sequence[str],
    embed: Embed,
    config: PPOConfig,
) -> Validation | None:
    """The validation of a run; None if `config.eval_steps` is 0 or there is no validation prompt.

    Raises:
        PreflowError: A monitor is unknown or part of the reward, or `config.keep_best` is set and there is no
            validation prompt.
    """
    check_monitors(monitors, sources)
    if config.keep_best and not prompts:
        raise PreflowError("`keep_best`: no prompt is in the validation split; give more prompts")
    if not config.eval_steps or not prompts:
        return None
    return Validation(prompts[: config.eval_prompts], sources, monitors, embed)


def means(scores: Scores) -> dict[str, float]:
    """Means of the reward, the KL and the monitors over the prompts they apply to, as `validation/NAME`."""
    found = {name: [value for value in values if not math.isnan(value)] for name, values in scores.items()}
    return {f"validation/{name}": sum(values) / len(values) for name, values in found.items() if values}


def falling_monitors(now: Scores, before: Scores) -> list[str]:
    """The monitors that fell significantly while the reward rose significantly, as they do when a reward is hacked.

    Significant: the mean paired difference of scores is more than two standard errors from 0.
    """
    if _change(now["reward"], before["reward"]) < _SIGNIFICANT:
        return []
    monitors = [name for name in now if name not in ("reward", "kl")]
    return [name for name in monitors if _change(now[name], before[name]) < -_SIGNIFICANT]


def _change(now: Sequence[float], before: Sequence[float]) -> float:
    """Mean paired difference in standard errors."""
    pairs = torch.tensor([one - other for one, other in zip(now, before, strict=True) if not math.isnan(one - other)])
    if len(pairs) < 2:
        return 0.0
    mean, error = float(pairs.mean()), float(pairs.std() / len(pairs) ** 0.5)
    if error == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / error
