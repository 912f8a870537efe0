"""The policy that learns, its critic, and the reference that it is kept near."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from preflow.errors import PreflowError
from preflow.models import device, preferred_dtype
from preflow.ppo.config import PPOConfig
from preflow.ppo.prefix_packing import (
    Episodes,
    assign_packs,
    before_responses,
    rounded_weights,
    run_transformer,
    scatter,
    supports_packing,
    unpacked,
)
from preflow.ppo.token_logprobs import token_logprobs, token_logprobs_and_entropy
from preflow.ppo.trained_weights import base_of, frozen_layers, load_reference, load_trained
from preflow.ppo.trunk import Trunk
from preflow.reward.model import RewardModel


class Critic(nn.Module):
    """A critic with its own weights: a reward model's backbone with its head (arXiv:2403.17031, detail 12)."""

    def __init__(self, reward_model: Path, tokenizer: Any, *, returns_are_scores: bool = True) -> None:
        """Starts from a reward model, its zero point and scale included.

        Args:
            reward_model: Folder of a reward model on a causal language model.
            tokenizer: Tokenizer of the policy; the critic reads the same tokens.
            returns_are_scores: Whether returns are the reward model's scores, which its head predicts. If not, the head
                is set to 0.

        Raises:
            PreflowError: The reward model is an encoder or has another tokenizer.
        """
        super().__init__()
        model = RewardModel.load(reward_model)
        if model.kind != "causal" or model.tokenizer.get_vocab() != tokenizer.get_vocab():
            why = "is an encoder" if model.kind != "causal" else "has another tokenizer than the policy"
            raise PreflowError(f"`critic`: 'separate' starts from the reward model, which {why}; set it to shared")
        self.backbone = model.backbone
        self.head = model.head
        with torch.no_grad():  # its raw rewards become scores
            self.head.bias.sub_(model.zero_point).div_(model.scale)
            self.head.weight.div_(model.scale)
            if not returns_are_scores:
                self.head.bias.zero_()
                self.head.weight.zero_()
        self.to(device())

    def forward(self, episodes: Episodes) -> Tensor:
        """`[B, T]` float32 values before each token, 0 outside the response mask."""
        packs = episodes.packs
        states = run_transformer(self.backbone, packs, input_ids=episodes.ids.flatten()[packs.tokens])
        before = before_responses(states, packs, episodes)
        return scatter(self.head(before.float()).squeeze(1).float(), episodes.response_mask)


class Outputs(NamedTuple):
    """Results for the sampled tokens, each `[B, T]` float32 and 0 outside the response mask.

    Attributes:
        logprobs: Log-probabilities of the sampled tokens.
        values: Expected return before each token, if there is a critic.
        entropy: Entropy of the distribution over the next token, if requested.
    """

    logprobs: Tensor
    values: Tensor | None
    entropy: Tensor | None


class Policy(nn.Module):
    """A causal language model with some weights trained, and a critic: a model, a value head that starts at 0, or none.

    With adapters, the reference is the same model with its adapters off; otherwise it is a frozen copy.
    """

    def __init__(self, reference: str, config: PPOConfig, critic: Critic | None = None) -> None:
        """Loads the model and prepares the weights that `config` names for training.

        Raises:
            PreflowError: PPO cannot handle the model.
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
        self.value_head = None
        if critic is None and config.critic != "none":
            self.value_head = nn.Linear(base.config.hidden_size, 1)
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)
        self.to(device())
        self._check_head(reference)
        inner = getattr(base, base.base_model_prefix)
        read = [inner] if critic is None else [inner, critic.backbone]
        shares_prompts = config.samples_per_prompt > 1 and all(supports_packing(one) for one in read)
        self._sharing = config.samples_per_prompt if shares_prompts else 1

    @property
    def code_path(self) -> str:
        """What the trials at the start found possible, in plain words for the log."""
        layers = base_of(self.model).config.num_hidden_layers
        shared = "prompts shared" if self._sharing > 1 else "prompts not shared"
        return f"{shared}, {self.trunk.frozen_layers} of {layers} layers cached"

    def forward(self, episodes: Episodes, *, entropy: bool = False) -> Outputs:
        """Log-probabilities, values and, if requested, entropies of the response tokens.

        Only positions that predict a response token go through the language-model head.
        """
        mask, hidden = episodes.response_mask, self._before_responses(episodes, self.trunk)
        head, tokens = base_of(self.model).get_output_embeddings(), _response_tokens(episodes)
        if entropy:
            logprobs, spread = token_logprobs_and_entropy(hidden, head, tokens, self.temperature, preferred_dtype())
        else:
            logprobs, spread = token_logprobs(hidden, head, tokens, self.temperature, preferred_dtype()), None
        values = self.critic(episodes) if self.critic is not None else self._head_values(hidden, mask)
        return Outputs(scatter(logprobs, mask), values, None if spread is None else scatter(spread, mask))

    def values(self, episodes: Episodes) -> Tensor | None:
        """`[B, T]` values alone, if there is a critic; only the critic gets a gradient."""
        if self.critic is not None:
            values: Tensor = self.critic(episodes)
            return values
        with torch.no_grad():
            hidden = self._before_responses(episodes, self.trunk)
        return self._head_values(hidden, episodes.response_mask)

    def assign_packs(self, episodes: Episodes, tokens: int) -> Tensor:
        """`[B]` pack numbers for `Episodes.pack`, with packs of up to `tokens` tokens."""
        return assign_packs(episodes, tokens, self._sharing)

    @torch.no_grad()
    def reference_logprobs(self, episodes: Episodes) -> Tensor:
        """`[B, T]` log-probabilities under the model that the run started from."""
        if self.reference is None:
            with self.model.disable_adapter():
                hidden = self._before_responses(episodes, self.trunk)
        else:
            hidden = self._before_responses(episodes, self.reference_trunk)
        head = (self.reference or base_of(self.model)).get_output_embeddings()
        tokens = _response_tokens(episodes)
        return scatter(
            token_logprobs(hidden, head, tokens, self.temperature, preferred_dtype()), episodes.response_mask
        )

    def policy_parameters(self) -> Iterator[nn.Parameter]:
        """The language model's weights that PPO trains."""
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def critic_parameters(self) -> Iterator[nn.Parameter]:
        """The weights that predict values; none if there is no critic."""
        critic = self.value_head if self.critic is None else self.critic
        return iter(()) if critic is None else critic.parameters()

    def save(self, folder: Path) -> None:
        """Writes safetensors: the adapters with their base model's reference, or the whole model in float32."""
        if base_of(self.model) is not self.model:
            self.model.save_pretrained(folder, safe_serialization=True)
            return
        weights = {name: value.float() for name, value in self.model.state_dict().items()}
        self.model.config.dtype = torch.float32
        self.model.save_pretrained(folder, state_dict=weights, safe_serialization=True)

    def _before_responses(self, episodes: Episodes, trunk: Trunk) -> Tensor:
        """`[N, H]` last hidden states at the positions that predict a response token."""
        packs = episodes.packs
        return before_responses(trunk.upper(episodes.ids, episodes.hidden, packs), packs, episodes)

    def _head_values(self, hidden: Tensor, mask: Tensor) -> Tensor | None:
        return None if self.value_head is None else scatter(self.value_head(hidden.float()).squeeze(1), mask)

    @torch.no_grad()
    def _check_head(self, reference: str) -> None:
        """Raises if the model caps or scales its logits: PPO would optimize another distribution than it samples."""
        base = base_of(self.model)
        ids = torch.arange(8, device=device())[None]
        mask = torch.ones_like(ids, dtype=torch.bool)
        packs = unpacked(ids, mask[:, :1], mask[:, 1:]).packs
        given = functional_call(base, rounded_weights(base), (), {"input_ids": ids, "use_cache": False}).logits.float()
        head, dtype = base.get_output_embeddings(), preferred_dtype()
        states = self.trunk.upper(ids, None, packs).flatten(0, 1)[packs.slots]
        bias = None if head.bias is None else head.bias.to(dtype)
        linear = nn.functional.linear(states, head.weight.to(dtype), bias).float()
        given, linear = given[:, :-1], linear[:, :-1]  # the last token is not read
        if (given - linear).abs().max() > (1e-3 if dtype == torch.float32 else 0.05) * given.abs().max():
            raise PreflowError(
                f"{reference}: it caps or scales its logits, which PPO cannot handle; give another model"
            )


def _response_tokens(episodes: Episodes) -> Tensor:
    return episodes.ids[:, episodes.prompt_mask.shape[1] :][episodes.response_mask]
