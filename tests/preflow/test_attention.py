"""Grouped attention gives what PyTorch's own gives."""

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


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_several_queries_and_their_gradients_are_those_of_the_fused_attention(causal: bool, masked: bool) -> None:
    module = SimpleNamespace(num_key_value_groups=3, is_causal=causal)
    mask = HIDDEN.expand(BATCH, 1, LENGTH, LENGTH) if masked else None
    if masked and causal:
        mask = HIDDEN & torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    found: list[list[Tensor]] = []
    for attend in (grouped_attention, sdpa_attention_forward):
        inputs = [tensor.requires_grad_() for tensor in tensors(LENGTH)]
        output = attend(module, *inputs, mask)[0]  # type: ignore[arg-type]
        seen = output[:, 2:]  # the first two queries of the masked row may look at nothing
        seen.square().sum().backward()  # type: ignore[no-untyped-call]
        found.append([seen, *(torch.as_tensor(tensor.grad) for tensor in inputs)])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_a_query_that_may_look_at_nothing_gives_numbers() -> None:
    query, key, value = tensors(3)
    nothing = torch.zeros(BATCH, 1, 3, LENGTH, dtype=torch.bool)
    for mask in (nothing, torch.zeros(nothing.shape).masked_fill(~nothing, -torch.inf)):
        assert bool(grouped_attention(MODULE, query, key, value, mask)[0].isfinite().all())  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"dropout": 0.1}, {"softcap": 2.0}, {"position_bias": torch.zeros(1)}])
def test_what_it_does_not_know_goes_to_the_fused_attention(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert passed_on(monkeypatch, settings) == [settings]


def test_long_sequences_go_to_the_fused_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passed_on(monkeypatch, {}) == []
    monkeypatch.setattr(attention, "_MOST_SCORES", BATCH * HEADS * 3 * LENGTH - 1)
    assert passed_on(monkeypatch, {}) == [{}]


def passed_on(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """What the fused attention is called with when the grouped one is called with `settings`."""
    calls: list[dict[str, Any]] = []

    def noted(_: Any, query: Tensor, *__: Any, **given: Any) -> Any:
        calls.append({name: value for name, value in given.items() if name in settings})
        return query, None

    monkeypatch.setattr(attention, "sdpa_attention_forward", noted)
    query, key, value = tensors(3)
    grouped_attention(MODULE, query, key, value, None, **settings)  # type: ignore[arg-type]
    return calls
