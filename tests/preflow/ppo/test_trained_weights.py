"""Adapters, the upper layers or the whole model: what is trained, what the reference is, what is saved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.errors import PreflowError
from preflow.models import load_causal_lm
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from preflow.ppo.rollout import Rollout
from preflow.ppo.sampling_copy import SamplingCopy
from preflow.ppo.update import make_optimizers, update
from tests.tiny import save_policy

pytestmark = pytest.mark.usefixtures("exact")
MakePolicy = Callable[..., Policy]
Roll = Callable[..., Rollout]
IDS = torch.tensor([[1, 40, 41, 42, 2, 43, 44]])
WAYS = {
    "adapters": {"lora_rank": 4, "lora_layers": 1},
    "upper layers": {"lora_rank": 0, "top_layers": 1},
    "everything": {"lora_rank": 0},
}


@pytest.fixture(scope="module")
def deep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_policy(tmp_path_factory.mktemp("models") / "deep", layers=3)


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> dict[str, int]:
    return WAYS[request.param]


def trained_names(policy: Policy) -> set[str]:
    return {name for name, value in policy.model.named_parameters() if value.requires_grad}


def test_only_what_is_named_is_trained(make_policy: MakePolicy, deep_folder: Path) -> None:
    upper = trained_names(make_policy(folder=deep_folder, **WAYS["upper layers"]))
    assert {name.partition("layers.")[2].partition(".")[0] for name in upper} == {"2", ""}
    assert {name for name in upper if "layers." not in name} == {"model.norm.weight"}
    everything = make_policy(folder=deep_folder, **WAYS["everything"])
    assert trained_names(everything) == {name for name, _ in everything.model.named_parameters()}
    assert not any("layers.0" in name or "layers.1" in name for name in upper)


def test_at_the_start_policy_and_reference_are_the_same(
    make_policy: MakePolicy, roll: Roll, deep_folder: Path, way: dict[str, int]
) -> None:
    rollout = roll(make_policy(fresh=True, folder=deep_folder, **way), folder=deep_folder)
    torch.testing.assert_close(rollout.logprobs, rollout.reference, atol=1e-5, rtol=0)
    assert rollout.sampler_gap < 1e-5


def test_training_moves_the_policy_and_not_its_reference(
    make_policy: MakePolicy, roll: Roll, by_row: Callable[..., Any], deep_folder: Path, config: PPOConfig,
    way: dict[str, int],
) -> None:  # fmt: skip
    policy = make_policy(folder=deep_folder, **way)
    rollout = roll(policy, folder=deep_folder)
    update(policy, make_optimizers(policy, config), rollout, config, number=1)
    episodes = rollout.episodes
    with torch.no_grad():
        moved = policy(episodes).logprobs
        base = by_row(load_causal_lm(str(deep_folder)), episodes)
        found = policy.reference_logprobs(episodes)
    for row, values in enumerate(base):
        torch.testing.assert_close(found[row, : len(values)], values, atol=1e-4, rtol=1e-4)
    assert (moved - rollout.logprobs[:, : moved.shape[1]]).abs().max() > 1e-3


def test_the_copy_that_samples_follows(make_policy: MakePolicy, deep_folder: Path, way: dict[str, int]) -> None:
    policy = make_policy(folder=deep_folder, **way)
    copy = SamplingCopy(str(deep_folder), policy)
    with torch.no_grad():
        assert (copy.model(IDS).logits - policy.model(IDS).logits).abs().max() > 0.05
        copy.follow()
        torch.testing.assert_close(copy.model(IDS).logits, policy.model(IDS).logits, atol=1e-4, rtol=1e-4)


def test_a_saved_policy_says_the_same(
    make_policy: MakePolicy, deep_folder: Path, way: dict[str, int], tmp_path: Path
) -> None:
    policy = make_policy(folder=deep_folder, **way)
    policy.save(tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("*.bin"))
    loaded: Any = load_causal_lm(str(tmp_path / "saved"))
    with torch.no_grad():
        torch.testing.assert_close(loaded(IDS).logits, policy.model(IDS).logits, atol=1e-4, rtol=1e-4)


def test_trained_weights_are_in_float32_and_frozen_ones_as_fast_as_can_be(
    make_policy: MakePolicy, roll: Roll, deep_folder: Path, way: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    policy = make_policy(fresh=True, folder=deep_folder, **way)
    for name, value in policy.model.named_parameters():
        assert value.dtype == (torch.float32 if value.requires_grad else torch.bfloat16), name
    rollout = roll(policy, folder=deep_folder)
    torch.testing.assert_close(rollout.logprobs, rollout.reference, atol=1e-5, rtol=0)
    assert rollout.sampler_gap < 0.2


def test_a_frozen_trunk_is_shared_with_the_reference(make_policy: MakePolicy, deep_folder: Path) -> None:
    policy = make_policy(folder=deep_folder, **WAYS["upper layers"])
    assert policy.reference is not None
    own, others = policy.model.model, policy.reference.model
    assert [one is other for one, other in zip(own.layers, others.layers, strict=True)] == [True, True, False]
    assert own.embed_tokens is others.embed_tokens
    assert not any(value.requires_grad for value in others.layers[2].parameters())


def test_upper_layers_of_a_model_without_a_list_of_them_are_refused(
    make_policy: MakePolicy, tmp_path: Path, policy_folder: Path
) -> None:
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    AutoTokenizer.from_pretrained(policy_folder).save_pretrained(tmp_path)
    GPT2LMHeadModel(GPT2Config(vocab_size=320, n_embd=16, n_layer=2, n_head=2)).save_pretrained(tmp_path)
    with pytest.raises(PreflowError, match="`top_layers`: .* does not name its layers as expected"):
        make_policy(folder=tmp_path, lora_rank=0, top_layers=1)
