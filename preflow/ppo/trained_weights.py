"""Which weights of a causal language model PPO trains: adapters, the upper layers, or all of them.

Frozen weights are in the dtype that is fastest on the device. Trained weights are in float32: a PPO step changes most
of them by less than bfloat16 can represent.
"""

from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from preflow.errors import PreflowError
from preflow.models import load_causal_lm, preferred_dtype
from preflow.ppo.config import PPOConfig


def load_trained(reference: str, config: PPOConfig) -> Any:
    """The model with only those weights trainable that `config` names; new adapters change no output yet.

    Raises:
        PreflowError: The model has no linear layer for adapters, or no list of layers for `config.top_layers`.
    """
    if config.lora_rank:
        return _with_adapters(reference, config)
    model = load_causal_lm(reference, torch.float32)
    model.requires_grad_(not config.top_layers)
    if config.top_layers:
        inner = getattr(model, model.base_model_prefix)
        if not hasattr(inner, "layers") or not hasattr(inner, "norm"):
            raise PreflowError(
                f"`top_layers`: {reference} does not name its layers as expected; set `lora_rank` instead"
            )
        upper = inner.layers[-config.top_layers :]
        for part in (*inner.layers[: -config.top_layers], model.get_input_embeddings(), model.get_output_embeddings()):
            part.to(preferred_dtype())
        for part in (*upper, inner.norm):
            part.requires_grad_(True)
    return model


def load_reference(reference: str, trained: Any, frozen_layers: int) -> Any:
    """A frozen copy of the untrained model that shares the frozen layers and embeddings of the trained one."""
    copy = load_causal_lm(reference, merged=True).requires_grad_(False)
    if frozen_layers:
        own, others = getattr(copy, copy.base_model_prefix), getattr(trained, trained.base_model_prefix)
        for index in range(frozen_layers):
            own.layers[index] = others.layers[index]
        copy.set_input_embeddings(trained.get_input_embeddings())
        copy.set_output_embeddings(trained.get_output_embeddings())
    return copy


def frozen_layers(model: Any, config: PPOConfig) -> int:
    """Number of lowest layers that are not trained."""
    trained = config.lora_layers if config.lora_rank else config.top_layers
    return max(0, model.config.num_hidden_layers - trained) if trained else 0


def base_of(model: Any) -> Any:
    """The transformers model, without the wrapper of its adapters if it has any."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def _with_adapters(reference: str, config: PPOConfig) -> Any:
    from peft import LoraConfig, get_peft_model

    base = load_causal_lm(reference, merged=True)
    base.config._name_or_path = reference  # saved as the base of the adapter
    layers, linear = base.config.num_hidden_layers, _linear_layers(base)
    if not linear:
        raise PreflowError(f"`lora_rank`: {reference} has no linear layers to put adapters on; set it to 0")
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        lora_dropout=0.0,
        target_modules=sorted({name.rpartition(".")[2] for name in linear}),
        layers_to_transform=list(range(frozen_layers(base, config), layers)) if config.lora_layers else None,
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in linear.values()),
        task_type="CAUSAL_LM",
    )
    model: Any = get_peft_model(base, settings)
    model.peft_config["default"].base_model_name_or_path = reference
    return model


def _linear_layers(model: Any) -> dict[str, nn.Module]:
    """The linear layers that get adapters, by name: all inside transformer layers; attention alone beside experts.

    GPT-2's are `Conv1D`, with transposed weights. Experts are tensors of three dimensions. Where other linear layers
    stand beside them (shared experts), peft would adapt the experts of frozen layers along with these, so it gets
    neither their names nor those of dense layers that are called the same.
    """
    head = model.get_output_embeddings()
    beside = tuple(
        name.rpartition(".")[0].removesuffix("experts") for name, weight in model.named_parameters() if weight.ndim == 3
    )
    found = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | Conv1D) and layer is not head
    }
    avoided = {name.rpartition(".")[2] for name in found if name.startswith(beside)}
    return {name: layer for name, layer in found.items() if name.rpartition(".")[2] not in avoided}
