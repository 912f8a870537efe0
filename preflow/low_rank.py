"""Adapters of models in 16 bits: merged into the weights, or beside them where rounding would change what was learnt.

Where the float32 weights are bfloat16 numbers themselves, as in a checkpoint released in bfloat16, a change below half
a unit in the last place is rounded away. Of adapters after a few steps at a small learning rate, a few per cent remain.
Where many weights lie halfway between two bfloat16 numbers, as dequantized ones may, a tiny change moves them by a
whole unit. Other float32 weights keep a change of any size on average.
"""

from typing import Any

import torch
from torch import Tensor, nn

_TOLERANCE = 0.2


class LowRankSum(nn.Module):
    """A linear layer plus the adapter `default` of a peft layer: `W x + s B A x` as one product, `[W, s B] [x, A x]`.

    Two products would each be rounded, and the smaller one be lost in their sum as it would be in the weights.
    """

    down: nn.Linear
    both: nn.Linear

    @torch.no_grad()
    def __init__(self, weight: Tensor, adapter: Any, dtype: torch.dtype) -> None:
        """Copies the weight, in the layout of the adapted layer, its bias, and the adapter's current weights."""
        super().__init__()
        up = adapter.lora_B["default"].weight * adapter.scaling["default"]
        weight = torch.cat([weight.T if adapter.fan_in_fan_out else weight, up], 1)
        self.down = _linear(adapter.lora_A["default"].weight, None, dtype)
        self.both = _linear(weight, adapter.base_layer.bias, dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[..., out]` of `[..., in]`."""
        outputs: Tensor = self.both(torch.cat([inputs, self.down(inputs)], -1))
        return outputs


def _linear(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    return layer


@torch.no_grad()
def merged_weight(weight: Tensor, change: Tensor, dtype: torch.dtype) -> Tensor | None:
    """The rounded sum of float32 tensors; None if it is not moved by the change, give or take a fifth.

    How far it is moved is the difference between the rounded sum and the rounded weight, projected onto the change.
    """
    merged = (weight + change).to(dtype)
    if dtype == torch.float32:
        return merged
    moved = (merged.float() - weight.to(dtype).float()).flatten()
    change = change.flatten()
    size = torch.dot(change, change)
    return merged if (torch.dot(moved, change) - size).abs() <= _TOLERANCE * size else None


@torch.no_grad()
def merge_adapters(model: Any, dtype: torch.dtype) -> Any:
    """The model under a float32 `PeftModel`, in `dtype`, with each adapter merged or, if it would be lost, beside."""
    from peft.tuners.lora import Linear

    beside: dict[str, LowRankSum] = {}
    for name, adapter in model.get_base_model().named_modules():
        # peft alone can merge what is more than a product (DoRA, a bias).
        if isinstance(adapter, Linear) and not adapter.lora_variant and not adapter.lora_bias["default"]:
            weight: Any = adapter.base_layer.weight
            if merged_weight(weight, adapter.get_delta_weight("default"), dtype) is None:
                beside[name] = LowRankSum(weight, adapter, dtype)
    plain = model.merge_and_unload().to(dtype)
    for name, layer in beside.items():
        plain.set_submodule(name, layer)
    return plain
