"""Token sequences that PPO evaluates, and prefix packing: a transformer reads a prompt once for all its responses.

A pack is a prompt followed by responses to it. Each response attends to the prompt and to itself, and its positions
continue the prompt's, so every token has the same result as in a sequence of its own. With several short responses per
prompt, a third fewer tokens go through the model. The cost is attention over longer sequences, so a pack takes on
responses only while that is the smaller part.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from accelerate.utils.memory import should_reduce_batch_size as is_out_of_memory
from torch import Tensor, nn
from torch.func import functional_call

from preflow.models import preferred_dtype

_WIDTH_STEP = 16  # few different shapes: every new one costs new kernels and new memory
_TOKEN_IN_PAIRS = 512  # a token costs a small model as much as attention between this many pairs of tokens
_TOLERANCE = 0.05


@dataclass(frozen=True)
class Episodes:
    """B token sequences to evaluate: prompts padded on the left, responses on the right.

    Attributes:
        ids: `[B, P + T]` int64 tokens.
        prompt_mask: `[B, P]` bool.
        response_mask: `[B, T]` bool, at least one true per row.
        pack: `[B]` int64 number of the pack that each episode is in.
        hidden: `[B, P + T, H]` states after the frozen layers, if the sampler kept them.
    """

    ids: Tensor
    prompt_mask: Tensor
    response_mask: Tensor
    pack: Tensor
    hidden: Tensor | None = None

    def select(self, rows: Tensor) -> "Episodes":
        """The episodes in `rows`."""
        hidden = None if self.hidden is None else self.hidden[rows]
        return Episodes(self.ids[rows], self.prompt_mask[rows], self.response_mask[rows], self.pack[rows], hidden)

    @cached_property
    def packs(self) -> "Packs":
        """The tokens in packs, as `pack` says; the same for all models that read these episodes."""
        return pack_tokens(self)

    def read_lengths(self) -> tuple[list[int], list[int]]:
        """B numbers of tokens that a transformer reads of the prompts, and of the responses.

        The last token of a response is not read, as nothing is predicted from it.
        """
        return self.prompt_mask.sum(1).tolist(), (self.response_mask.sum(1) - 1).tolist()


class Packs(NamedTuple):
    """R packs of up to L tokens, holding the tokens of B episodes.

    Attributes:
        tokens: `[R, L]` int64 index of each token among the `B * (P + T)` tokens of the episodes.
        positions: `[R, L]` int64 positions.
        attention: `[R, L]` bool, true on tokens, if every pack is one episode; otherwise `[R, 1, L, L]` bool, true
            where the first token attends to the second.
        slots: `[B, P + T]` int64 index of each episode token among the `R * L` tokens of the packs, except for the last
            token of a response, which is not read.
    """

    tokens: Tensor
    positions: Tensor
    attention: Tensor
    slots: Tensor


def unpacked(ids: Tensor, prompt_mask: Tensor, response_mask: Tensor, hidden: Tensor | None = None) -> Episodes:
    """Episodes of which each is a pack of its own."""
    return Episodes(ids, prompt_mask, response_mask, torch.arange(len(ids), device=ids.device), hidden)


def assign_packs(episodes: Episodes, tokens: int, samples_per_prompt: int) -> Tensor:
    """`[B]` int64 pack numbers for `Episodes.pack`: the samples of a prompt share packs of up to `tokens` tokens.

    Samples of a prompt are `samples_per_prompt` episodes in a row. If the prompt comes twice, so do its packs.

    Compared with a pack of its own, a response of r tokens behind w others saves the p tokens of the prompt, and costs
    attention between `(w + r)^2 - w^2 - (p + r)^2` more pairs of tokens.
    """
    width = episodes.prompt_mask.shape[1]
    prompts = torch.where(episodes.prompt_mask, episodes.ids[:, :width], -1)
    repeats = [False, *(prompts[1:] == prompts[:-1]).all(1).tolist()]
    numbers: list[int] = []
    number, length = -1, 0
    for row, (prompt, response) in enumerate(zip(*episodes.read_lengths(), strict=True)):
        apart = row % samples_per_prompt == 0 or not repeats[row]
        pairs = 2 * response * (length - prompt) - prompt**2
        if apart or length + response > tokens or pairs > prompt * _TOKEN_IN_PAIRS:
            number, length = number + 1, prompt
        length += response
        numbers.append(number)
    return torch.tensor(numbers, device=episodes.ids.device)


def pack_tokens(episodes: Episodes) -> Packs:
    """Packs the tokens of episodes as `Episodes.pack` says."""
    (rows, width), total = episodes.prompt_mask.shape, episodes.ids.shape[1]
    prompts, responses = episodes.prompt_mask.sum(1), episodes.response_mask.sum(1) - 1
    numbers = torch.arange(rows, device=prompts.device)
    together = episodes.pack[:, None] == episodes.pack
    earlier = together.tril(-1)
    opens = ~earlier.any(1)  # the first episode of a pack brings its prompt
    starts = prompts + (earlier * responses).sum(1)
    count, longest = torch.stack([opens.sum(), (starts + responses).max()]).tolist()
    length = padded_width(longest)

    columns = torch.arange(total, device=prompts.device)
    # Rotary embeddings see positions, not slots: every response continues at the prompt's length, wherever in the pack
    # it starts. Together with `part`, which hides the responses from each other, this makes the result that of a
    # sequence of its own.
    positions = columns - (width - prompts)[:, None]
    in_response = (columns >= width) & (columns < width + responses[:, None])
    in_prompt = (columns < width) & (positions >= 0)
    # Back from episodes to packs: pads point at slot 0, whose state is never used; all episodes of a pack point at the
    # one copy of their prompt, so its gradient is summed over them.
    inside = torch.where(in_response, columns - width + starts[:, None], torch.where(in_prompt, positions, 0))
    slots = (together * opens * (opens.cumsum(0) - 1)).sum(1, keepdim=True) * length + inside

    sources = torch.arange(rows * total, device=prompts.device).view(rows, total)
    part = torch.where(in_response, numbers[:, None] + 1, 0)  # 0 for tokens of the prompt
    outside = count * length  # an additional slot for what is not read
    target = torch.where(in_response | (in_prompt & opens[:, None]), slots, outside).flatten()

    def packed(values: Tensor, fill: int) -> Tensor:
        tokens = torch.full((outside + 1,), fill, device=target.device)
        return tokens.scatter_(0, target, values.flatten())[:outside].view(count, length)

    return Packs(
        packed(sources, 0),
        packed(positions, 0),
        _attention(packed(part, -1), shared=count < rows),
        slots,
    )


def padded_width(length: int) -> int:
    """Width of a tensor for packs of up to `length` tokens."""
    return -(-length // _WIDTH_STEP) * _WIDTH_STEP


def scatter(values: Tensor, mask: Tensor) -> Tensor:
    """A tensor of the shape of `mask` with `[N]` values where it is true, and 0 elsewhere."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(mask, values)


def run_transformer(model: Any, packs: Packs, **inputs: Tensor) -> Tensor:
    """`[R, L, H]` last hidden states of a transformer without a head, in `preferred_dtype()`."""
    settings = {"attention_mask": packs.attention, "position_ids": packs.positions, "use_cache": False}
    embedding = model.get_input_embeddings()
    if "input_ids" in inputs and type(embedding) is nn.Embedding:  # rounds the rows looked up, not the whole table
        inputs = {"inputs_embeds": embedding(inputs["input_ids"]).to(preferred_dtype())}
    weights = rounded_weights(model, but=embedding.weight if "inputs_embeds" in inputs else None)
    states: Tensor = functional_call(model, weights, (), {**settings, **inputs}).last_hidden_state
    return states


def rounded_weights(model: Any, but: Tensor | None = None) -> dict[str, Tensor]:
    """The weights that are not in `preferred_dtype()` (float32 ones, for training), rounded to it, by name.

    With all of them rounded, nothing returns to float32 between two layers, as it would under autocast. `but` is a
    weight that is not used.
    """
    dtype = preferred_dtype()
    return {
        name: weight.to(dtype)
        for name, weight in model.named_parameters()
        if weight.dtype != dtype and weight is not but
    }


def before_responses(states: Tensor, packs: Packs, episodes: Episodes) -> Tensor:
    """`[N, H]` of `[R, L, H]` states: those from which response tokens are predicted."""
    before = packs.slots[:, episodes.prompt_mask.shape[1] - 1 : -1]
    return states.flatten(0, 1).index_select(0, before[episodes.response_mask])


@torch.no_grad()
def supports_packing(model: Any) -> bool:
    """Whether a transformer gives packed episodes the same states as unpacked ones.

    It is tried out, as no property of a model tells whether it honours a mask between pairs of tokens.
    """
    if getattr(model.config, "sliding_window", None) is not None:
        return False
    ids = torch.arange(10, device=model.device).view(2, 5)
    ids[1, :2] = ids[0, :2]
    mask = torch.ones(2, 5, dtype=torch.bool, device=model.device)
    apart = unpacked(ids, mask[:, :2], mask[:, 2:])
    found = []
    for episodes in (apart, replace(apart, pack=torch.zeros_like(apart.pack))):
        packs = episodes.packs
        try:
            states = run_transformer(model, packs, input_ids=ids.flatten()[packs.tokens])
        except (ValueError, RuntimeError, TypeError) as error:
            if is_out_of_memory(error):
                raise
            return False  # it takes no such mask
        found.append(states.flatten(0, 1)[packs.slots].float())
    return bool((found[0] - found[1]).abs().max() <= _TOLERANCE * found[0].abs().max())


def _attention(part: Tensor, *, shared: bool) -> Tensor:
    # Unshared, a mask over tokens lets the model build its own causal mask, and use a fused kernel for it.
    if not shared:
        return part >= 0
    # A token attends to tokens of its own part and to the prompt (part 0), as far as they come before it.
    attention = part[:, :, None] == part[:, None, :]
    attention |= part[:, None, :] == 0
    return attention.tril_()[:, None]
