"""Attention for one query token gives what PyTorch's own gives."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from preflow import attention
from preflow.attention import grouped_attention

MODULE = SimpleNamespace(num_key_value_groups=3, is_causal=True)
BATCH, HEADS, GROUPS, LENGTH, WIDTH = 2, 6, 2, 7, 8


def tensors(queries: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(queries)
    shapes = (BATCH, HEADS, queries, WIDTH), (BATCH, GROUPS, LENGTH, WIDTH), (BATCH, GROUPS, LENGTH, WIDTH)
    query, key, value = (torch.randn(shape, generator=generator) for shape in shapes)
    return query, key, value


HIDDEN = torch.tensor([[False, False, True, True, True, True, True], [True] * 7])[:, None, None, :]


@pytest.mark.parametrize("mask", [None, HIDDEN, torch.zeros(HIDDEN.shape).masked_fill(~HIDDEN, -torch.inf)])
@pytest.mark.parametrize("scaling", [None, 0.5])
def test_one_query_gives_what_the_fused_attention_gives(mask: Tensor | None, scaling: float | None) -> None:
    query, key, value = tensors(1)
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=scaling, enable_gqa=True
    ).transpose(1, 2)
    found, weights = grouped_attention(MODULE, query, key, value, mask, scaling=scaling)  # type: ignore[arg-type]
    assert weights is None
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_mask_longer_than_the_keys_is_cut() -> None:
    query, key, value = tensors(1)
    longer = torch.cat([HIDDEN, torch.zeros(BATCH, 1, 1, 4, dtype=torch.bool)], 3)
    found = grouped_attention(MODULE, query, key, value, longer)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(found, grouped_attention(MODULE, query, key, value, HIDDEN)[0])  # type: ignore[arg-type]


def test_longer_queries_dropout_and_training_go_to_the_fused_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def noted(*arguments: Any, **settings: Any) -> Any:
        calls.append(settings)
        return sdpa_attention_forward(*arguments, **settings)

    monkeypatch.setattr(attention, "sdpa_attention_forward", noted)
    query, key, value = tensors(3)
    found = grouped_attention(MODULE, query, key, value, None)[0]  # type: ignore[arg-type]
    torch.testing.assert_close(found, sdpa_attention_forward(MODULE, query, key, value, None)[0])
    query, key, value = tensors(1)
    grouped_attention(MODULE, query, key, value, None, dropout=0.1)  # type: ignore[arg-type]
    grouped_attention(MODULE, query.requires_grad_(), key, value, None)  # type: ignore[arg-type]
    assert len(calls) == 3
