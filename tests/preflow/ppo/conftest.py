"""A tiny policy with adapters, and what it needs to be rolled out."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.generation.sampler import Samples, sample
from preflow.identity import prompt_id
from preflow.models import load_tokenizer
from preflow.ppo import trainer
from preflow.ppo.algorithm import RewardStatistics
from preflow.ppo.checkpoint import trained_weights
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Critic, Policy
from preflow.ppo.prefix_packing import Episodes
from preflow.ppo.reward_sources import Source, _by_reward_model
from preflow.ppo.rollout import Rollout, collect_rollout
from preflow.ppo.sampling_copy import SamplingCopy
from preflow.rows import Prompt
from tests.preflow.ppo.settings import replace
from tests.tiny import questions

CONFIG = PPOConfig(
    train_steps=1, batch_size=8, samples_per_prompt=1, epochs=1, minibatches=1, microbatch_tokens=256, lora_rank=4,
    lora_layers=0, target_sequence_length=10, learning_rate=1e-2, temperature=1.0, kl_coeff=0.05, gae_lambda=0.95,
    eval_steps=0,
)  # fmt: skip


class Letters:
    """A reward model that likes one letter, or gives scores that are known."""

    def __init__(self, letter: str = "e", scores: Sequence[float] | None = None) -> None:
        self.letter, self.scores = letter, scores

    def score(self, prompts: Sequence[Any], responses: Sequence[str]) -> torch.Tensor:
        if self.scores is not None:
            return torch.tensor(self.scores)
        return torch.tensor([float(response.count(self.letter)) for response in responses])


@pytest.fixture
def letters() -> type[Letters]:
    return Letters


@pytest.fixture
def config() -> PPOConfig:
    """Eight episodes of up to ten tokens."""
    return CONFIG


@pytest.fixture
def tokenizer(policy_folder: Path) -> Any:
    return load_tokenizer(str(policy_folder))


@pytest.fixture
def make_policy(policy_folder: Path) -> Callable[..., Policy]:
    """Makes a policy; its trained weights and value head have learnt something unless `fresh`."""

    def make(
        *,
        fresh: bool = False,
        folder: Path = policy_folder,
        critic: Critic | None = None,
        without_critic: bool = False,
        **settings: Any,
    ) -> Policy:
        if without_critic:
            settings = {"critic": "none", "samples_per_prompt": 2, "gae_lambda": 1.0, **settings}
        torch.manual_seed(0)
        policy = Policy(str(folder), replace(CONFIG, **settings), critic)
        if not fresh:
            nudge(policy)
        return policy

    return make


def nudge(policy: Policy, size: float = 0.1) -> None:
    """Changes what is trained, so that policy and reference differ."""
    generator = torch.Generator().manual_seed(1)
    adapted = any("lora_B" in name for name, _ in policy.named_parameters())
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad and ("lora_B" in name or "value_head.weight" in name or not adapted):
            scale = size if adapted or "value_head" in name else 0.1 * size
            parameter.data.add_(scale * torch.randn(parameter.shape, generator=generator))


@pytest.fixture
def prompts() -> list[Prompt]:
    """Eight prompts of unequal length; one holds the token that ends responses."""
    rows = questions(7)
    text = "Say <|im_end|> and <|endoftext|> once."
    return [*rows, Prompt(prompt_id=prompt_id(text), prompt=text, split="train")]


@pytest.fixture
def roll(policy_folder: Path, tokenizer: Any, prompts: list[Prompt], config: PPOConfig) -> Callable[..., Rollout]:
    """Rolls a policy out on the prompts."""

    def run(
        policy: Policy,
        judge: Any = None,
        settings: PPOConfig = config,
        folder: Path = policy_folder,
        sources: dict[str, Source] | None = None,
    ) -> Rollout:
        sampler = SamplingCopy(str(folder), policy)
        sampler.follow()
        generator = torch.Generator().manual_seed(2)
        sources = sources or {"reward_model": Source(1.0, partial(_by_reward_model, judge or Letters()))}
        return collect_rollout(
            prompts, policy, sampler, tokenizer, sources, settings, generator,
            kl_coeff=settings.kl_coeff, statistics=RewardStatistics(),
        )  # fmt: skip

    return run


@pytest.fixture
def make_samples(policy_folder: Path, tokenizer: Any) -> Callable[[Any, Sequence[Sequence[int]]], Samples]:
    def make(model: Any, encoded: Sequence[Sequence[int]]) -> Samples:
        generator = torch.Generator().manual_seed(2)
        uniforms = torch.rand(len(encoded), CONFIG.target_sequence_length, generator=generator)
        return sample(model, encoded, uniforms=uniforms, temperature=1.0, eos_ids=[2], pad_id=0)

    return make


@torch.no_grad()
def plain_logprobs(model: Any, episodes: Episodes, heat: float = 1.0) -> list[torch.Tensor]:
    """Log-probabilities of the response tokens of each row, by a forward without padding."""
    width = episodes.prompt_mask.shape[1]
    found = []
    for row in range(len(episodes.ids)):
        prompt = episodes.ids[row, :width][episodes.prompt_mask[row]]
        response = episodes.ids[row, width:][episodes.response_mask[row]]
        logits = model(torch.cat([prompt, response])[None], use_cache=False).logits[0, len(prompt) - 1 : -1]
        found.append((logits / heat).log_softmax(-1).gather(1, response[:, None]).squeeze(1))
    return found


@pytest.fixture
def by_row() -> Callable[..., list[torch.Tensor]]:
    return plain_logprobs


@pytest.fixture
def weights_after(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The trained weights before the first update and after each, as the run fills them in."""
    after: list[dict[str, torch.Tensor]] = []
    learn = trainer.update

    def noted(policy: Policy, *arguments: Any) -> Any:
        if not after:
            after.append(trained_weights(policy))
        stats = learn(policy, *arguments)
        after.append(trained_weights(policy))
        return stats

    monkeypatch.setattr(trainer, "update", noted)
    return after
