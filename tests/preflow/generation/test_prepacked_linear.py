"""Packed layers say what plain ones say."""

from pathlib import Path

import pytest
import torch
from torch import nn

from preflow.generation.prepacked_linear import PackedLinear, pack_linear_layers
from preflow.models import load_causal_lm


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, 300])
@torch.no_grad()
def test_a_packed_layer_says_what_the_plain_one_says(bias: bool, rows: int) -> None:
    torch.manual_seed(0)
    plain, other = (nn.Linear(96, 40, bias=bias).bfloat16() for _ in range(2))
    packed = PackedLinear(other.weight, plain.bias)
    packed.set_weight(plain.weight)
    inputs = torch.randn(2, rows, 96).bfloat16()
    torch.testing.assert_close(packed(inputs), plain(inputs), atol=0.02, rtol=0.02)


@torch.no_grad()
def test_all_linear_layers_of_a_bfloat16_model_are_packed(policy_folder: Path) -> None:
    ids = torch.tensor([[1, 40, 41, 42, 2]])
    model = load_causal_lm(str(policy_folder), torch.bfloat16)
    before = model(ids).logits
    pack_linear_layers(model)
    assert not any(type(layer) is nn.Linear for layer in model.modules())
    torch.testing.assert_close(model(ids).logits, before, atol=0.05, rtol=0.05)
    assert model.get_input_embeddings().weight.shape[0] == before.shape[-1]


def test_a_float32_model_stays_as_it_is(policy_folder: Path) -> None:
    model = load_causal_lm(str(policy_folder), torch.float32)
    pack_linear_layers(model)
    assert not any(isinstance(layer, PackedLinear) for layer in model.modules())
