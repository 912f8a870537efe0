"""The copy that samples says what the policy says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from preflow.ppo.sampling_copy import SamplingCopy
from preflow.rows import Prompt
from tests.preflow.ppo.settings import replace

pytestmark = pytest.mark.usefixtures("exact")
IDS = torch.tensor([[1, 40, 41, 42, 2, 43, 44]])


@torch.no_grad()
def gap(copy: SamplingCopy, policy: Policy) -> float:
    return float((copy.model(IDS).logits - policy.model(IDS).logits).abs().max())


def test_it_follows_the_adapters(make_policy: Callable[..., Policy], policy_folder: Path) -> None:
    policy = make_policy(fresh=True)
    copy = SamplingCopy(str(policy_folder), policy)
    assert gap(copy, policy) < 1e-4
    for _ in range(2):  # a second change must not stand on top of the first
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.data.add_(torch.randn(parameter.shape) * 0.2)
        assert gap(copy, policy) > 0.1
        copy.follow()
        assert gap(copy, policy) < 1e-4


def test_it_has_weights_of_its_own(make_policy: Callable[..., Policy], policy_folder: Path) -> None:
    policy = make_policy()
    reference = policy.model.get_base_model().state_dict()
    before = {name: value.clone() for name, value in reference.items()}
    SamplingCopy(str(policy_folder), policy).follow()
    for name, value in policy.model.get_base_model().state_dict().items():
        assert torch.equal(value, before[name]), name


def test_what_it_shares_with_the_policy_is_not_trained(make_policy: Callable[..., Policy], policy_folder: Path) -> None:
    policy = make_policy(lora_layers=1)
    before = {name for name, value in policy.named_parameters() if value.requires_grad}
    copy = SamplingCopy(str(policy_folder), policy)
    base = policy.model.get_base_model()
    assert base.model.layers[0] is copy.model.model.layers[0]
    assert base.get_input_embeddings() is copy.model.get_input_embeddings()
    assert base.get_output_embeddings().weight is base.get_input_embeddings().weight, "still tied"
    assert {name for name, value in policy.named_parameters() if value.requires_grad} == before


@pytest.mark.parametrize("size", [1, 3, 8, 100])
def test_how_many_answers_are_sampled_at_once_does_not_matter(
    make_policy: Callable[..., Policy], policy_folder: Path, tokenizer: Any, prompts: list[Prompt], config: PPOConfig,
    size: int,
) -> None:  # fmt: skip
    copy = SamplingCopy(str(policy_folder), make_policy())
    copy.follow()
    uniforms = torch.rand(len(prompts), 10, generator=torch.Generator().manual_seed(3))
    whole, texts = copy.answer(prompts, tokenizer, config, uniforms)
    assert len(set(whole.lengths.tolist())) > 2
    found, again = copy.answer(prompts, tokenizer, replace(config, sampling_batch_size=size), uniforms)
    assert again == texts
    for one, other in zip(vars(found).values(), vars(whole).values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
