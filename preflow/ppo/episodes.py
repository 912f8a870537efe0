"""Token sequences that PPO evaluates, and how a transformer reads them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


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


def microbatches(episodes: Episodes, rows: Tensor, tokens: int) -> list[Tensor]:
    """`rows` cut into groups of similar length, each of at most `tokens` tokens with its padding, or a single row."""
    prompts, responses = episodes.prompt_mask[rows].sum(1), episodes.response_mask[rows].sum(1)
    order = (prompts + responses).argsort(descending=True)
    parts: list[list[int]] = []
    width = [0, 0]
    for place, *lengths in torch.stack([order, prompts[order], responses[order]], 1).tolist():
        width = [max(pair) for pair in zip(width, lengths, strict=True)]
        if not parts or (len(parts[-1]) + 1) * sum(width) > tokens:
            parts.append([])
            width = lengths
        parts[-1].append(place)
    return [rows[part] for part in parts]


def run_transformer(model: Any, attention: Tensor, **inputs: Tensor) -> Tensor:
    """`[B, L, H]` last hidden states of a transformer without a head; positions count the tokens, not the padding."""
    positions = (attention.long().cumsum(1) - 1).clamp(min=0)
    states: Tensor = model(
        **inputs, attention_mask=attention.long(), position_ids=positions, use_cache=False
    ).last_hidden_state
    return states


def place(values: Tensor, mask: Tensor) -> Tensor:
    """Puts `[N]` values of the true places of `mask` back into its shape, 0 elsewhere."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)
