"""Token sequences that PPO evaluates, and how they are cut into microbatches."""

from typing import NamedTuple

import torch
from torch import Tensor

_WIDTH_STEP = 16  # few different shapes: for each new one, kernels are made and memory is laid out again


class Episodes(NamedTuple):
    """B token sequences to evaluate: prompts padded on the left, responses on the right.

    Attributes:
        ids: `[B, P + T]` int64.
        prompt_mask: `[B, P]` bool.
        response_mask: `[B, T]` bool, at least one true a row.
        line: `[B]` int64, equal for episodes of one prompt that a transformer reads together (`lines.shared_lines`).
        hidden: `[B, P + T, H]` states after the layers that are not trained, where the policy keeps them.
    """

    ids: Tensor
    prompt_mask: Tensor
    response_mask: Tensor
    line: Tensor
    hidden: Tensor | None = None

    def select(self, rows: Tensor) -> "Episodes":
        """The episodes of `rows`."""
        return Episodes(*(None if tensor is None else tensor[rows] for tensor in self))  # type: ignore[arg-type]

    def read_lengths(self) -> tuple[list[int], list[int]]:
        """B numbers of tokens that a transformer reads of the prompts, and of the responses.

        Nothing follows after a response's last token, so nobody asks what it says.
        """
        return self.prompt_mask.sum(1).tolist(), (self.response_mask.sum(1) - 1).tolist()


def alone(ids: Tensor, prompt_mask: Tensor, response_mask: Tensor) -> Episodes:
    """Episodes of which each is read by itself."""
    return Episodes(ids, prompt_mask, response_mask, torch.arange(len(ids), device=ids.device))


def microbatches(episodes: Episodes, rows: Tensor, tokens: int) -> list[Tensor]:
    """`rows` cut into groups of lines of similar length, each of at most `tokens` tokens with its padding, or one line.

    Episodes of one line stay together.
    """
    members: dict[int, list[int]] = {}
    for row, line in zip(rows.tolist(), episodes.line[rows].tolist(), strict=True):
        members.setdefault(line, []).append(row)
    prompts, responses = episodes.read_lengths()
    lines = [(prompts[line[0]] + sum(responses[row] for row in line), line) for line in members.values()]
    parts: list[list[int]] = []
    longest, count = 0, 0
    for length, line in sorted(lines, key=lambda one: -one[0]):
        if not parts or (count + 1) * longest > tokens:
            parts.append([])
            longest, count = padded_width(length), 0
        parts[-1] += line
        count += 1
    return [torch.tensor(part, device=rows.device) for part in parts]


def padded_width(length: int) -> int:
    """How wide a tensor for lines of up to `length` tokens is."""
    return -(-length // _WIDTH_STEP) * _WIDTH_STEP


def place(values: Tensor, mask: Tensor) -> Tensor:
    """Puts `[N]` values of the true places of `mask` back into its shape, 0 elsewhere."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)
