"""Grouped attention against PyTorch's fused kernel on the CPU, at the shapes of PPO on SmolLM2-135M."""

import json
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from benchmarks.timing import best_seconds
from preflow.attention import grouped_attention

_HEADS, _GROUPS, _WIDTH, _LENGTH = 9, 3, 64, 112
_MODULE = SimpleNamespace(num_key_value_groups=_HEADS // _GROUPS, is_causal=True)


def measure(batch: int, queries: int, *, backward: bool) -> float:
    """How many times faster grouped attention is."""
    shapes = (batch, _HEADS, queries, _WIDTH), (batch, _GROUPS, _LENGTH, _WIDTH), (batch, _GROUPS, _LENGTH, _WIDTH)
    inputs = [torch.randn(shape).bfloat16().requires_grad_(backward) for shape in shapes]
    mask = torch.ones(batch, 1, queries, _LENGTH, dtype=torch.bool).tril(_LENGTH - queries)

    def run(attend: Callable[..., Any]) -> None:
        output = attend(_MODULE, *inputs, mask)[0]
        if backward:
            output.float().sum().backward()

    seconds = best_seconds(
        {"fused": partial(run, sdpa_attention_forward), "grouped": partial(run, grouped_attention)}, rounds=20
    )
    ratio = seconds["fused"] / seconds["grouped"]
    what = f"{batch} x {queries} queries, {'forward and backward' if backward else 'forward'}"
    print(
        f"{what:<45} fused {seconds['fused'] * 1e3:7.2f} ms   grouped {seconds['grouped'] * 1e3:7.2f} ms   {ratio:.1f}x"
    )
    return ratio


if __name__ == "__main__":
    figures = {
        "decoding_ratio": measure(64, 1, backward=False),
        "forward_ratio": measure(8, _LENGTH, backward=False),
        "training_ratio": measure(8, _LENGTH, backward=True),
    }
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))
