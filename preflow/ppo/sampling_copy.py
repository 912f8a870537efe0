"""A copy of the policy with its adapters merged, to sample from: a decoding step is then half as many operations.

The merge adds the adapters to float32 weights and rounds once. Adding them to weights that are rounded already would
lose changes smaller than half a unit in the last place, which is most of what PPO learns in an update.
"""

from typing import Any

import torch

from preflow.models import load_causal_lm, preferred_dtype
from preflow.ppo.policy import Policy


class SamplingCopy:
    """A causal language model whose weights follow a policy's."""

    def __init__(self, reference: str, policy: Policy) -> None:
        """Loads the base model twice: float32 weights to add to, and the model that samples."""
        self.model: Any = load_causal_lm(reference, preferred_dtype())
        exact = load_causal_lm(reference, torch.float32).state_dict()
        base = policy.model.get_base_model()
        self._layers = [
            (layer, exact[f"{name}.weight"], self.model.get_submodule(name).weight)
            for name, layer in base.named_modules()
            if hasattr(layer, "lora_A")
        ]

    @torch.no_grad()
    def follow(self) -> None:
        """Takes over the adapters as they are now."""
        for layer, exact, weight in self._layers:
            weight.copy_(exact + layer.get_delta_weight("default").float())
