"""The policy that learns, its critic, and the reference that it is held near."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from preflow.errors import PreflowError
from preflow.models import device, preferred_dtype
from preflow.ppo.config import PPOConfig
from preflow.ppo.critic import Critic
from preflow.ppo.episodes import Episodes, alone, place
from preflow.ppo.lines import before_responses, can_share_lines, lay_out, rounded_weights, shared_lines
from preflow.ppo.token_logprobs import token_logprobs, token_logprobs_and_entropy
from preflow.ppo.trained_weights import base_of, frozen_layers, load_reference, load_trained
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


class Policy(nn.Module):
    """A causal language model of which some weights are trained, and a critic: a model, or a head that starts at 0.

    With adapters the reference is the same model with the adapters off; otherwise it is a frozen copy.
    """

    def __init__(self, reference: str, config: PPOConfig, critic: Critic | None = None) -> None:
        """Loads the model and gets the weights that `config` names ready for training.

        Raises:
            PreflowError: The model is not one that PPO can handle.
        """
        super().__init__()
        self.temperature = config.temperature
        self.model = load_trained(reference, config)
        base = base_of(self.model)
        self.trunk = Trunk(base, frozen_layers(base, config))
        self.reference = None if config.lora_rank else load_reference(reference, base, self.trunk.frozen_layers)
        if self.reference is not None:
            self.reference_trunk = Trunk(self.reference, self.trunk.frozen_layers)
        self.critic = critic
        if critic is None:
            self.value_head = nn.Linear(base.config.hidden_size, 1)
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)
        self.to(device())
        self._check_head(reference)
        inner = getattr(base, base.base_model_prefix)
        read = [inner] if critic is None else [inner, critic.backbone]
        self._shares_lines = config.samples_per_prompt > 1 and all(can_share_lines(one) for one in read)

    def forward(self, episodes: Episodes, *, entropy: bool = False) -> Outputs:
        """Log-probabilities, values and, if asked, entropies of the response tokens.

        Only the positions that predict a response token go through the language-model head.
        """
        mask, hidden = episodes.response_mask, self._before_responses(episodes, self.trunk)
        head, tokens = base_of(self.model).get_output_embeddings(), _response_tokens(episodes)
        if entropy:
            logprobs, spread = token_logprobs_and_entropy(hidden, head, tokens, self.temperature, preferred_dtype())
        else:
            logprobs, spread = token_logprobs(hidden, head, tokens, self.temperature, preferred_dtype()), None
        values = self.critic(episodes) if self.critic is not None else self._head_values(hidden, mask)
        return Outputs(place(logprobs, mask), values, None if spread is None else place(spread, mask))

    def values(self, episodes: Episodes) -> Tensor:
        """`[B, T]` values alone; only the critic gets a gradient."""
        if self.critic is not None:
            values: Tensor = self.critic(episodes)
            return values
        with torch.no_grad():
            hidden = self._before_responses(episodes, self.trunk)
        return self._head_values(hidden, episodes.response_mask)

    def lines(self, episodes: Episodes, tokens: int) -> Tensor:
        """`[B]` numbers of lines of up to `tokens` tokens, for `Episodes.line`."""
        return shared_lines(episodes, tokens) if self._shares_lines else episodes.line

    def encode(self, episodes: Episodes) -> Tensor | None:
        """The states of the layers that are not trained, for `Episodes.hidden`."""
        return self.trunk.lower(episodes.ids, lay_out(episodes))

    @torch.no_grad()
    def reference_logprobs(self, episodes: Episodes) -> Tensor:
        """`[B, T]` log-probabilities of the model that the run started from."""
        if self.reference is None:
            with self.model.disable_adapter():
                hidden = self._before_responses(episodes, self.trunk)
        else:
            hidden = self._before_responses(episodes, self.reference_trunk)
        head = (self.reference or base_of(self.model)).get_output_embeddings()
        tokens = _response_tokens(episodes)
        return place(token_logprobs(hidden, head, tokens, self.temperature, preferred_dtype()), episodes.response_mask)

    def policy_parameters(self) -> Iterator[nn.Parameter]:
        """The weights of the language model that PPO trains."""
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def critic_parameters(self) -> Iterator[nn.Parameter]:
        """The weights that predict values."""
        return (self.value_head if self.critic is None else self.critic).parameters()

    def save(self, folder: Path) -> None:
        """Writes safetensors: the adapters with the reference of their base model, or the whole model in float32."""
        if base_of(self.model) is not self.model:
            self.model.save_pretrained(folder, safe_serialization=True)
            return
        weights = {name: value.float() for name, value in self.model.state_dict().items()}
        self.model.config.dtype = torch.float32
        self.model.save_pretrained(folder, state_dict=weights, safe_serialization=True)

    def _before_responses(self, episodes: Episodes, trunk: Trunk) -> Tensor:
        """`[N, H]` last hidden states at the positions that predict a response token."""
        lines = lay_out(episodes)
        return before_responses(trunk.upper(episodes.ids, episodes.hidden, lines), lines, episodes)

    def _head_values(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return place(self.value_head(hidden.float()).squeeze(1), mask)

    @torch.no_grad()
    def _check_head(self, reference: str) -> None:
        """Refuses models that cap or scale their logits: what is optimized would not be what is sampled from."""
        base = base_of(self.model)
        ids = torch.arange(8, device=device())[None]
        mask = torch.ones_like(ids, dtype=torch.bool)
        lines = lay_out(alone(ids, mask[:, :1], mask[:, 1:]))
        said = functional_call(base, rounded_weights(base), (), {"input_ids": ids, "use_cache": False}).logits.float()
        head = base.get_output_embeddings().weight.to(preferred_dtype())
        linear = (self.trunk.upper(ids, None, lines).flatten(0, 1)[lines.where] @ head.T).float()
        said, linear = said[:, :-1], linear[:, :-1]  # nobody reads the last token
        if (said - linear).abs().max() > 0.05 * said.abs().max():
            raise PreflowError(
                f"{reference}: it caps or scales its logits, which PPO cannot handle; give another model"
            )


def _response_tokens(episodes: Episodes) -> Tensor:
    return episodes.ids[:, episodes.prompt_mask.shape[1] :][episodes.response_mask]
