"""A copy of the policy for sampling, with adapters merged, which halves the operations of a decoding step.

The merge adds the adapters to float32 weights and rounds once. Adding them to rounded weights would lose changes
smaller than half a unit in the last place, which is most of what PPO learns in an update. Where the float32 weights are
rounded ones, adapters stay beside them until the changes are large enough.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from preflow.chat import encode_prompt
from preflow.generation.prepacked_linear import PackedLinear, pack_linear_layers
from preflow.generation.sampler import Samples, decode, joined, sample
from preflow.low_rank import LowRankSum, merged_weight
from preflow.models import eos_ids, load_causal_lm
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from preflow.ppo.trained_weights import base_of
from preflow.rows import Prompt


class SamplingCopy:
    """A causal language model whose weights follow a policy's."""

    def __init__(self, reference: str, policy: Policy) -> None:
        """Loads the base model twice: as float32 weights to add adapters to, and as the model that samples."""
        self.model: Any = load_causal_lm(reference, merged=True).requires_grad_(False)
        pack_linear_layers(self.model)
        base = base_of(policy.model)
        self._frozen_layers = policy.trunk.frozen_layers
        self._adapted: list[tuple[str, Any, Tensor, Any]] = []
        self._trained: list[tuple[Any, Any]] = []
        if base is not policy.model:
            self._share(base, self._frozen_layers)
            exact = load_causal_lm(reference, torch.float32).state_dict()
            self._adapted = [
                (name, layer, exact[f"{name}.weight"], self.model.get_submodule(name))
                for name, layer in base.named_modules()
                if hasattr(layer, "lora_A")
            ]
        else:
            self._trained = [
                (layer, self.model.get_submodule(name))
                for name, layer in base.named_modules()
                if any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
            ]

    def answer(
        self, prompts: Sequence[Prompt], tokenizer: Any, config: PPOConfig, uniforms: Tensor
    ) -> tuple[Samples, list[str]]:
        """Samples and decodes one response to each prompt. The states after the frozen layers are kept.

        Args:
            prompts: B prompts.
            tokenizer: Tokenizer of the policy.
            config: Settings.
            uniforms: `[B, T]` random numbers in [0, 1) that determine the tokens.
        """
        encoded = [encode_prompt(tokenizer, row.prompt) for row in prompts]
        size = config.sampling_batch_size or len(encoded)
        parts = [
            sample(
                self.model,
                encoded[start : start + size],
                uniforms=uniforms[start : start + size],
                temperature=config.temperature,
                eos_ids=eos_ids(self.model, tokenizer),
                pad_id=tokenizer.pad_token_id,
                layers=self._frozen_layers,
            )
            for start in range(0, len(encoded), size)
        ]
        samples = joined(parts, tokenizer.pad_token_id)
        return samples, decode(samples, tokenizer)

    def _share(self, base: Any, layers: int) -> None:
        """Shares the copy's embeddings and lowest layers with the policy, which saves its adapters only."""
        own, others = (getattr(model, base.base_model_prefix) for model in (self.model, base))
        for index in range(layers):
            others.layers[index] = own.layers[index]
        base.set_input_embeddings(self.model.get_input_embeddings())
        base.tie_weights()

    @torch.no_grad()
    def follow(self) -> None:
        """Copies the current trained weights of the policy."""
        for name, adapted, exact, layer in self._adapted:
            merged = merged_weight(exact, adapted.get_delta_weight("default").float(), self.model.dtype)
            if merged is not None:
                _set_weight(layer, merged)
                self.model.set_submodule(name, layer)
            else:
                self.model.set_submodule(name, LowRankSum(exact, adapted, self.model.dtype))
        pack_linear_layers(self.model)
        for trained, layer in self._trained:
            for name, parameter in trained.named_parameters(recurse=False):
                if name == "weight":
                    _set_weight(layer, parameter)
                else:
                    getattr(layer, name).copy_(parameter)


def _set_weight(layer: Any, weight: Tensor) -> None:
    if isinstance(layer, PackedLinear):
        layer.set_weight(weight)
    else:
        layer.weight.copy_(weight)
