"""Which weights of a causal language model PPO trains: adapters, the upper layers, or all of them.

Frozen weights are in the dtype that is fastest on the device. Trained weights are in float32: a PPO step changes most
of them by less than bfloat16 can represent.
"""

from typing import Any

import torch
from torch import nn

from preflow.errors import PreflowError
from preflow.models import load_causal_lm, preferred_dtype
from preflow.ppo.config import PPOConfig


def load_trained(reference: str, config: PPOConfig) -> Any:
    """The model with only those weights trainable that `config` names; new adapters change no output yet.

    Raises:
        PreflowError: `config.top_layers` is set and the model has no list of layers.
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
    copy = load_causal_lm(reference).requires_grad_(False)
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

    base = load_causal_lm(reference)
    base.config._name_or_path = reference  # saved as the base of the adapter
    layers = base.config.num_hidden_layers
    settings = LoraConfig(
        r=config.lora_rank,
        lora_alpha=2 * config.lora_rank,
        lora_dropout=0.0,
        target_modules=sorted(_linear_names(base)),
        layers_to_transform=list(range(frozen_layers(base, config), layers)) if config.lora_layers else None,
        task_type="CAUSAL_LM",
    )
    model: Any = get_peft_model(base, settings)
    model.peft_config["default"].base_model_name_or_path = reference
    return model


def _linear_names(model: Any) -> set[str]:
    """Names of the linear layers inside a transformer layer."""
    head = model.get_output_embeddings()
    return {
        name.rpartition(".")[2]
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer is not head
    }
