"""Linear layers whose bfloat16 weights are arranged for the CPU's matrix kernels once, not at every call.

A decoding step multiplies few rows with every weight of the model. Without prepacking, rearranging the weights takes a
third of the step (`make bench-sampler`). The result is bit-identical. Packed layers cannot be trained.
"""

from typing import Any

import torch
from torch import Tensor, nn

_ROWS = 32  # the number of rows that the layout is optimized for; any number works


class PackedLinear(nn.Module):
    """A linear layer for inference."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.bias = bias
        self.set_weight(weight)

    def set_weight(self, weight: Tensor) -> None:
        """Replaces the weight by a `[out, in]` one."""
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(torch.bfloat16), _ROWS)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[..., out]` of `[..., in]`."""
        outputs: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self.bias, "none", [], "")
        return outputs


def pack_linear_layers(model: Any) -> None:
    """Packs every linear layer of a model that runs in bfloat16 on a CPU; leaves any other model as it is."""
    if model.device.type != "cpu" or model.dtype != torch.bfloat16 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return
    for name, layer in list(model.named_modules()):
        if type(layer) is nn.Linear:
            model.set_submodule(name, PackedLinear(layer.weight, layer.bias))
