"""The policy that learns: a causal language model with LoRA adapters and a value head on its trunk.

The reference is the same model with the adapters off, so that no second copy is needed for it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from preflow.errors import PreflowError
from preflow.models import device, load_causal_lm, preferred_dtype
from preflow.ppo.token_logprobs import token_logprobs, token_logprobs_and_entropy
from preflow.ppo.trunk import Trunk


class Outputs(NamedTuple):
    """What the policy says of sampled tokens, each `[B, T]` float32 and 0 outside the response mask.

    Attributes:
        logprobs: Of the sampled tokens.
        values: Expected return before each token.
        entropy: Of the distribution over the next token; only when asked for.
    """

    logprobs: Tensor
    values: Tensor
    entropy: Tensor | None


class Episodes(NamedTuple):
    """Token sequences to evaluate: prompts padded on the left, responses on the right.

    Attributes:
        ids: `[B, P + T]` int64.
        prompt_mask: `[B, P]` bool.
        response_mask: `[B, T]` bool.
        hidden: `[B, P + T, H]` states after the layers that are not trained, where the policy keeps them.
    """

    ids: Tensor
    prompt_mask: Tensor
    response_mask: Tensor
    hidden: Tensor | None = None

    @property
    def attention(self) -> Tensor:
        """`[B, P + T]` bool, true on tokens."""
        return torch.cat([self.prompt_mask, self.response_mask], 1)

    def select(self, rows: Tensor) -> "Episodes":
        """The episodes of `rows`, without the columns that are padding in all of them."""
        prompt_mask, response_mask = self.prompt_mask[rows], self.response_mask[rows]
        width = self.prompt_mask.shape[1]
        first = int(prompt_mask.any(0).int().argmax())
        last = width + int(response_mask.sum(1).max())
        hidden = None if self.hidden is None else self.hidden[rows, first:last]
        return Episodes(self.ids[rows, first:last], prompt_mask[:, first:], response_mask[:, : last - width], hidden)


class Policy(nn.Module):
    """LoRA adapters on every linear layer of a causal language model, and a linear value head that starts at 0."""

    def __init__(self, reference: str, *, lora_rank: int, lora_layers: int, temperature: float) -> None:
        """Loads the base model and puts fresh adapters on its upper layers, which change nothing yet."""
        from peft import LoraConfig, get_peft_model

        super().__init__()
        self.temperature = temperature
        base = load_causal_lm(reference, preferred_dtype())
        base.config._name_or_path = reference  # what the adapter names as its base when it is saved
        layers = base.config.num_hidden_layers
        self.trunk = Trunk(base, max(0, layers - lora_layers) if lora_layers else 0)
        settings = LoraConfig(
            r=lora_rank,
            lora_alpha=2 * lora_rank,
            lora_dropout=0.0,
            target_modules=sorted(_linear_names(base)),
            layers_to_transform=list(range(max(0, layers - lora_layers), layers)) if lora_layers else None,
            task_type="CAUSAL_LM",
        )
        self.model: Any = get_peft_model(base, settings)
        self.model.peft_config["default"].base_model_name_or_path = reference
        module: Any
        for module in self.model.modules():
            if hasattr(module, "lora_A"):
                # Autocast rounds once; peft would go up to float32 and back.
                module.cast_input_dtype_enabled = False
        self.value_head = nn.Linear(base.config.hidden_size, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        self.to(device())
        self._check_head(reference)

    def forward(self, episodes: Episodes, *, entropy: bool = False) -> Outputs:
        """Log-probabilities, values and, if asked, entropies of the response tokens.

        Only the positions that predict a response token go through the language-model head.
        """
        mask = episodes.response_mask
        width = episodes.prompt_mask.shape[1]
        with self._autocast():
            states = self.trunk.upper(episodes.ids, episodes.hidden, episodes.attention)
        hidden = states[:, width - 1 : -1][mask]
        head, tokens = self.model.get_base_model().get_output_embeddings(), episodes.ids[:, width:][mask]
        if entropy:
            logprobs, spread = token_logprobs_and_entropy(hidden, head, tokens, self.temperature)
        else:
            logprobs, spread = token_logprobs(hidden, head, tokens, self.temperature), None
        values = self.value_head(hidden.float()).squeeze(1)
        return Outputs(_place(logprobs, mask), _place(values, mask), None if spread is None else _place(spread, mask))

    def encode(self, episodes: Episodes) -> Tensor | None:
        """The states of the layers that are not trained, for `Episodes.hidden`."""
        with self._autocast():
            return self.trunk.lower(episodes.ids, episodes.attention)

    def reference_logprobs(self, episodes: Episodes) -> Tensor:
        """`[B, T]` log-probabilities of the untouched base model."""
        with self.model.disable_adapter():
            return self(episodes).logprobs  # type: ignore[no-any-return]

    @torch.no_grad()
    def _check_head(self, reference: str) -> None:
        """Refuses models that cap or scale their logits: what is optimized would not be what is sampled from."""
        base = self.model.get_base_model()
        ids = torch.arange(8, device=device())[None]
        with self._autocast():
            said = base(input_ids=ids, use_cache=False).logits.float()
            linear = base.get_output_embeddings()(self.trunk.upper(ids, None, torch.ones_like(ids))).float()
        if (said - linear).abs().max() > 0.05 * said.abs().max():
            raise PreflowError(
                f"{reference}: it caps or scales its logits, which PPO cannot handle; give another model"
            )

    def _autocast(self) -> torch.autocast:
        dtype = self.model.get_base_model().dtype
        return torch.autocast(device().type, dtype, enabled=dtype != torch.float32)

    def adapter_parameters(self) -> Iterator[nn.Parameter]:
        """The weights that PPO trains apart from the value head."""
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def save(self, folder: Path) -> None:
        """Writes the adapters as safetensors, with the reference of the base model they belong to."""
        self.model.save_pretrained(folder, safe_serialization=True)


def _place(values: Tensor, mask: Tensor) -> Tensor:
    """Puts the values of the true places of `mask` back into its shape, 0 elsewhere."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)


def _linear_names(model: Any) -> set[str]:
    """The names that linear layers have inside a transformer layer."""
    head = model.get_output_embeddings()
    return {
        name.rpartition(".")[2]
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and layer is not head
    }
