"""A copy of the policy with its adapters merged, to sample from: a decoding step is then half as many operations.

The merge adds the adapters to float32 weights and rounds once. Adding them to weights that are rounded already would
lose changes smaller than half a unit in the last place, which is most of what PPO learns in an update.
"""

from typing import Any

import torch
from torch import Tensor

from preflow.generation.packing import PackedLinear, pack_linear_layers
from preflow.models import load_causal_lm, preferred_dtype
from preflow.ppo.policy import Policy


class SamplingCopy:
    """A causal language model whose weights follow a policy's."""

    def __init__(self, reference: str, policy: Policy) -> None:
        """Loads the base model twice: float32 weights to add to, and the model that samples."""
        self.model: Any = load_causal_lm(reference, preferred_dtype())
        pack_linear_layers(self.model)
        exact = load_causal_lm(reference, torch.float32).state_dict()
        base = policy.model.get_base_model()
        self._layers = [
            (layer, exact[f"{name}.weight"], self.model.get_submodule(name))
            for name, layer in base.named_modules()
            if hasattr(layer, "lora_A")
        ]

    @torch.no_grad()
    def follow(self) -> None:
        """Takes over the adapters as they are now."""
        for adapted, exact, layer in self._layers:
            _set_weight(layer, exact + adapted.get_delta_weight("default").float())


def _set_weight(layer: Any, weight: Tensor) -> None:
    if isinstance(layer, PackedLinear):
        layer.set_weight(weight)
    else:
        layer.weight.copy_(weight)
