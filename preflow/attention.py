"""Attention for decoding on a CPU: one query token against the cache, grouped by key/value head.

PyTorch's fused kernel is made for long queries. With a single one, and several query heads sharing a key/value head,
two batched matrix products are several times faster (`make bench-sampler`). Longer queries go to the fused kernel.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "preflow_grouped"


def use_grouped_decoding(model: Any) -> None:
    """Lets a model on the CPU decode with `grouped_attention`, where it uses the fused attention now."""
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
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention of `[B, H, Q, D]` queries over `[B, K, L, D]` keys and values, H a multiple of K.

    Returns:
        `[B, Q, H, D]`, and None for the weights, as transformers expects of an attention function.
    """
    batch, heads, queries, width = query.shape
    if queries > 1 or dropout > 0 or query.requires_grad:
        output: Tensor = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **settings
        )[0]
        return output, None
    groups, length = key.shape[1], key.shape[2]
    rows = query.reshape(batch * groups, heads // groups, width)
    scores = torch.bmm(rows, key.reshape(batch * groups, length, width).transpose(1, 2)).float()
    scores = scores.view(batch, groups, heads // groups, length) * (width**-0.5 if scaling is None else scaling)
    if attention_mask is not None:
        mask = attention_mask[:, :, :, :length]
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(-1).to(value.dtype).view(batch * groups, heads // groups, length)
    mixed = torch.bmm(weights, value.reshape(batch * groups, length, width))
    return mixed.view(batch, 1, heads, width), None


AttentionInterface.register(_NAME, grouped_attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)
