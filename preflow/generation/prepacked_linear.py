"""Linear layers whose bfloat16 weights are laid out for the CPU's matrix kernels once, and not at every call.

A decoding step multiplies few rows with every weight of the model. Without this, rearranging the weights takes a third
of the step (`make bench-sampler`). The result is the same to the last bit. Packed layers cannot be trained.
"""

from typing import Any

import torch
from torch import Tensor, nn

_ROWS = 32  # what the layout is chosen for; any number of rows works


class PackedLinear(nn.Module):
    """A linear layer for inference."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.bias = bias
        self.set_weight(weight)

    def set_weight(self, weight: Tensor) -> None:
        """Takes over a `[out, in]` weight."""
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
