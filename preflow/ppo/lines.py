"""How a transformer reads episodes: a line is a prompt with all its responses behind it, so that it is read once.

Each response sees the prompt and itself, and its positions follow the prompt's: a token is told what it would be told
alone. With several short responses to a prompt there are a third fewer tokens to go through the model. The price is
attention over longer lines, so a line takes on responses only as long as that is the smaller part.
"""

from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from preflow.models import preferred_dtype
from preflow.ppo.episodes import Episodes, alone, padded_width

_TOKEN_IN_PAIRS = 512  # a token costs a small model what attention between so many pairs of tokens does
_TOLERANCE = 0.05


class Lines(NamedTuple):
    """R lines of up to L tokens for the tokens of B episodes.

    Attributes:
        tokens: `[R, L]` int64, which of the `B * (P + T)` places of the episodes each token is.
        positions: `[R, L]` int64.
        attention: `[R, L]` bool, true on tokens, where each line is one episode; otherwise `[R, 1, L, L]` bool, true
            where the first sees the second.
        where: `[B, P + T]` int64, which of the `R * L` places of the lines each token of the episodes has, the last
            token of a response excepted, which is not read.
    """

    tokens: Tensor
    positions: Tensor
    attention: Tensor
    where: Tensor


def shared_lines(episodes: Episodes, tokens: int) -> Tensor:
    """`[B]` int64 numbers of lines, for `Episodes.line`: episodes of one prompt share some, up to `tokens` long.

    Against a line of its own, a response of r tokens behind a line of w saves the p tokens of the prompt and costs
    attention between `(w + r)^2 - w^2 - (p + r)^2` more pairs.
    """
    numbers: list[int] = []
    open_lines: dict[tuple[int, ...], tuple[int, int]] = {}
    prompt_lengths, lengths = episodes.read_lengths()
    for ids, prompt, response in zip(episodes.ids.tolist(), prompt_lengths, lengths, strict=True):
        width = episodes.prompt_mask.shape[1]
        key = tuple(ids[width - prompt : width])
        number, length = open_lines.get(key, (-1, 0))
        pairs = 2 * response * (length - prompt) - prompt**2
        if number < 0 or length + response > tokens or pairs > prompt * _TOKEN_IN_PAIRS:
            number, length = 1 + max(numbers, default=-1), prompt
        open_lines[key] = (number, length + response)
        numbers.append(number)
    return torch.tensor(numbers, device=episodes.ids.device)


def lay_out(episodes: Episodes) -> Lines:
    """The lines of episodes."""
    width, total = episodes.prompt_mask.shape[1], episodes.ids.shape[1]
    prompts, responses = episodes.read_lengths()
    numbers: dict[int, int] = {}
    tokens: list[list[int]] = []
    positions: list[list[int]] = []
    part: list[list[int]] = []  # 0 for the prompt, then the responses' own numbers
    where: list[list[tuple[int, int]]] = []
    for row, (line, prompt, response) in enumerate(zip(episodes.line.tolist(), prompts, responses, strict=True)):
        first = row * total + width
        if line not in numbers:
            numbers[line] = len(numbers)
            tokens.append(list(range(first - prompt, first)))
            positions.append(list(range(prompt)))
            part.append([0] * prompt)
        number = numbers[line]
        start = len(tokens[number])
        tokens[number] += range(first, first + response)
        positions[number] += range(prompt, prompt + response)
        part[number] += [row + 1] * response
        inside = chain([0] * (width - prompt), range(prompt), range(start, start + response))
        where.append([(number, place) for place in inside] + [(number, 0)] * (total - width - response))
    device = episodes.ids.device
    length = padded_width(max(map(len, tokens)))
    places = torch.tensor(where, device=device)
    return Lines(
        _padded(tokens, length, 0, device),
        _padded(positions, length, 0, device),
        _attention(_padded(part, length, -1, device), shared=len(tokens) < len(where)),
        places[:, :, 0] * length + places[:, :, 1],
    )


def run_transformer(model: Any, lines: Lines, **inputs: Tensor) -> Tensor:
    """`[R, L, H]` last hidden states of a transformer without a head, in `preferred_dtype()`."""
    settings = {"attention_mask": lines.attention, "position_ids": lines.positions, "use_cache": False}
    embedding = model.get_input_embeddings()
    if "input_ids" in inputs and type(embedding) is nn.Embedding:  # rounds what is looked up, not the whole table
        inputs = {"inputs_embeds": embedding(inputs["input_ids"]).to(preferred_dtype())}
    weights = rounded_weights(model, but=embedding.weight if "inputs_embeds" in inputs else None)
    states: Tensor = functional_call(model, weights, (), {**settings, **inputs}).last_hidden_state
    return states


def rounded_weights(model: Any, but: Tensor | None = None) -> dict[str, Tensor]:
    """By name, those weights in `preferred_dtype()` that are kept in another, which is float32 to train them.

    With all of them rounded, nothing goes back to float32 between two layers, as it would under autocast. `but` is one
    that is not used.
    """
    dtype = preferred_dtype()
    return {
        name: weight.to(dtype)
        for name, weight in model.named_parameters()
        if weight.dtype != dtype and weight is not but
    }


def before_responses(states: Tensor, lines: Lines, episodes: Episodes) -> Tensor:
    """`[N, H]` of `[R, L, H]` states: those that predict a response token."""
    before = lines.where[:, episodes.prompt_mask.shape[1] - 1 : -1]
    return states.flatten(0, 1).index_select(0, before[episodes.response_mask])


@torch.no_grad()
def can_share_lines(model: Any) -> bool:
    """Whether a transformer says the same of episodes that share a line, which takes attention that can be masked."""
    if getattr(model.config, "sliding_window", None) is not None:
        return False
    ids = torch.arange(10, device=model.device).view(2, 5)
    ids[1, :2] = ids[0, :2]
    mask = torch.ones(2, 5, dtype=torch.bool, device=model.device)
    apart = alone(ids, mask[:, :2], mask[:, 2:])
    said = []
    for episodes in (apart, apart._replace(line=torch.zeros_like(apart.line))):
        lines = lay_out(episodes)
        try:
            states = run_transformer(model, lines, input_ids=ids.flatten()[lines.tokens])
        except (ValueError, RuntimeError, TypeError):
            return False
        said.append(states.flatten(0, 1)[lines.where].float())
    return bool((said[0] - said[1]).abs().max() <= _TOLERANCE * said[0].abs().max())


def _padded(rows: list[list[int]], length: int, fill: int, device: torch.device) -> Tensor:
    return torch.tensor([row + [fill] * (length - len(row)) for row in rows], device=device)


def _attention(part: Tensor, *, shared: bool) -> Tensor:
    if not shared:
        return part >= 0
    first, second = part[:, :, None], part[:, None, :]
    return ((first == second) | (second == 0)).tril()[:, None]
