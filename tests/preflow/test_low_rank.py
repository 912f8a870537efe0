"""Small changes survive in 16 bits, merged or beside the weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.low_rank import LowRankSum, merged_weight
from preflow.models import load_causal_lm
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from preflow.ppo.sampling_copy import SamplingCopy
from tests.tiny import save_other, save_policy

IDS = torch.randint(3, 320, (32, 64), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["llama", "gpt2"])
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model whose weights are bfloat16 numbers, stored in float32."""
    folder = tmp_path / "released"
    save_policy(folder) if request.param == "llama" else save_other(folder, request.param)
    load_causal_lm(str(folder), torch.bfloat16).float().save_pretrained(folder)
    return folder


@pytest.fixture
def make_policy(exact: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, float], Policy]:
    """Makes a policy in bfloat16 with adapters of a given size."""
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)

    def make(folder: Path, size: float) -> Policy:
        policy = Policy(str(folder), PPOConfig(lora_rank=4, lora_layers=0))
        generator = torch.Generator().manual_seed(1)
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * size)
        return policy

    return make


@torch.no_grad()
def change(tuned: Any, base: Any) -> torch.Tensor:
    """The change of all log-probabilities, which rounding within the models blurs."""
    after, before = (model(IDS).logits.float().log_softmax(-1) for model in (tuned, base))
    found: torch.Tensor = (after - before).flatten()
    return found


def learnt(policy: Policy, folder: Path) -> torch.Tensor:
    """The exact change."""
    exact = load_causal_lm(str(folder), torch.float32)
    policy.save(folder / "tuned")
    return change(load_causal_lm(str(folder / "tuned"), torch.float32), exact)


def share(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(found @ expected / (expected @ expected))


@pytest.mark.parametrize("size", [1e-3, 1e-2])
def test_the_copy_that_samples_does_what_was_learnt(released: Path, make_policy: Any, size: float) -> None:
    policy = make_policy(released, size)
    copy = SamplingCopy(str(released), policy)
    copy.follow()
    base = load_causal_lm(str(released))
    assert share(change(copy.model, base), learnt(policy, released)) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("size", [1e-3, 1e-2])
def test_a_stored_adapter_does_what_was_learnt(released: Path, make_policy: Any, size: float) -> None:
    expected = learnt(make_policy(released, size), released)
    tuned, base = load_causal_lm(str(released / "tuned")), load_causal_lm(str(released))
    assert share(change(tuned, base), expected) == pytest.approx(1, abs=0.15)


def test_only_small_changes_are_kept_beside_and_only_of_rounded_weights(
    released: Path, policy_folder: Path, make_policy: Any
) -> None:
    def beside(folder: Path, size: float) -> set[bool]:
        policy = make_policy(folder, size)
        copy = SamplingCopy(str(folder), policy)
        copy.follow()
        names = [name for name, layer in policy.model.get_base_model().named_modules() if hasattr(layer, "lora_A")]
        return {isinstance(copy.model.get_submodule(name), LowRankSum) for name in names}

    assert beside(released, 0.0) == {False}
    assert beside(released, 3e-4) == {True}
    assert beside(released, 3e-2) == {False}
    assert beside(policy_folder, 3e-2) == {False}


def test_a_copy_goes_from_beside_to_merged_and_back(released: Path, make_policy: Any) -> None:
    policy = make_policy(released, 3e-4)
    copy = SamplingCopy(str(released), policy)
    found = []
    for factor in (1.0, 100.0, 0.01):
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.data.mul_(factor)
        copy.follow()
        with torch.no_grad():
            found.append(copy.model(IDS).logits)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize(
    ("eighths", "merged"),
    [
        # In eighths of a unit, the distance of bfloat16 numbers above 1. Less than 4 is rounded to 0, more to 8.
        ([8, 0, 0], [8, 0, 0]),  # exact
        ([2, 0, 0], None),  # nothing is left
        ([8, 3, 0], [8, 0, 0]),  # 8 * 8 / (8 * 8 + 3 * 3) = 0.88 of the change
        ([8, 3, 3], None),  # 64 / (64 + 9 + 9) = 0.78
        ([7, 0, 0], [8, 0, 0]),  # 8 * 7 / (7 * 7) = 1.14
        ([5, 0, 0], None),  # 8 * 5 / (5 * 5) = 1.6
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_what_rounding_leaves_is_measured_along_the_change(eighths: list[float], merged: list[float] | None) -> None:
    unit = 2.0**-7
    found = merged_weight(torch.ones(3), torch.tensor(eighths) / 8 * unit, torch.bfloat16)
    assert (None if found is None else ((found.float() - 1) / unit * 8).tolist()) == merged


def test_float32_weights_are_always_merged() -> None:
    found = merged_weight(torch.ones(1), torch.tensor([1e-9]), torch.float32)
    assert found is not None
    assert found.tolist() == [1]


def test_weights_that_are_no_bfloat16_numbers_keep_small_changes_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, small = torch.randn(2, 512, 512, generator=generator)
    assert merged_weight(weight, 1e-4 * small, torch.bfloat16) is not None
    assert merged_weight(weight.bfloat16().float(), 1e-4 * small, torch.bfloat16) is None
