"""Attention for short sequences on a CPU: plain batched products, grouped by key/value head.

PyTorch's fused kernel is made for long sequences. Where the scores of a batch fit the caches, two batched matrix
products and a softmax are several times faster, backward as well as forward (`make bench-attention`), and several query
heads share a key/value head without copying it. Long sequences go to the fused kernel, whose memory does not grow with
the square of the length.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "preflow_grouped"
_MOST_SCORES = 2**23
_CHANGES_SCORES = ("softcap", "position_bias", "s_aux", "cache")


def use_grouped_attention(model: Any) -> None:
    """Makes a model on the CPU use `grouped_attention` instead of PyTorch's fused attention."""
    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(_NAME)


def grouped_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention of `[B, H, Q, D]` queries over `[B, K, L, D]` keys and values, H a multiple of K.

    The softmax is computed in float32 and rounded once. A query whose keys are all masked (a pad) attends to all of
    them instead, which avoids NaN.

    Returns:
        `[B, Q, H, D]`, and None for the weights, as transformers expects of an attention function.
    """
    batch, heads, queries, width = query.shape
    groups, length = key.shape[1], key.shape[2]
    special = any(settings.get(name) is not None for name in _CHANGES_SCORES)
    if special or dropout > 0 or batch * heads * queries * length > _MOST_SCORES:
        output: Tensor = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=is_causal, **settings
        )[0]
        return output, None
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if attention_mask is None and causal and queries > 1:
        # As in PyTorch: the first query is at the first key, and keys after the last query are unused cache positions.
        attention_mask = torch.ones(queries, length, dtype=torch.bool).tril()
    rows = (query * (width**-0.5 if scaling is None else scaling)).reshape(batch * groups, -1, width)
    scores = torch.bmm(rows, key.reshape(batch * groups, length, width).transpose(1, 2))
    mask = None if attention_mask is None else attention_mask[..., :length]
    weights: Tensor = _MaskedSoftmax.apply(scores.view(batch, heads, queries, length), mask)  # type: ignore[no-untyped-call]
    weights = weights.to(value.dtype).view(batch * groups, -1, length)
    mixed = torch.bmm(weights, value.reshape(batch * groups, length, width))
    return mixed.view(batch, heads, queries, width).transpose(1, 2), None


class _MaskedSoftmax(torch.autograd.Function):
    """A softmax that masks the scores in place: they are not needed again, and masked ones have no gradient."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            least = torch.finfo(scores.dtype).min
            scores = scores.masked_fill_(~mask, least) if mask.dtype == torch.bool else scores.add_(mask).clamp_(least)
        weights = scores.softmax(-1)
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        return torch._softmax_backward_data(gradient, weights, -1, weights.dtype), None


AttentionInterface.register(_NAME, grouped_attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)
