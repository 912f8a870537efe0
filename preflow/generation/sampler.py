"""Batched sampling with a KV cache of its own: finished rows leave the batch, equal prompts are read once.

Why not `generate`: the log and PPO need explicit masks, the log-probability of each sampled token, random numbers that
belong to the row and not to the batch, and no work for rows that have ended.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from preflow.errors import PreflowError
from preflow.generation.cache import block_cache


@dataclass(frozen=True)
class Samples:
    """Sampled responses to B prompts. P and T are the longest prompt and response of the batch.

    Attributes:
        ids: `[B, P + T]` int64: prompts padded on the left, then responses padded on the right.
        prompt_mask: `[B, P]` bool, true on real prompt tokens.
        response_mask: `[B, T]` bool, true on sampled tokens, the end-of-sequence token included.
        logprobs: `[B, T]` float32 log-probabilities of the sampled tokens at the temperature, 0 outside the mask.
        stopped: `[B]` bool, true where the model ended the response itself.
        states: `[B, P + T, H]` states of the tokens that the model has read, which the last one of a response is not,
            after the layers that `sample` was asked for, and 0 elsewhere; None if it was asked for none.
    """

    ids: Tensor
    prompt_mask: Tensor
    response_mask: Tensor
    logprobs: Tensor
    stopped: Tensor
    states: Tensor | None = None

    @property
    def lengths(self) -> Tensor:
        """`[B]` int64 numbers of sampled tokens."""
        return self.response_mask.sum(1)

    @property
    def response_ids(self) -> Tensor:
        """`[B, T]` int64 sampled tokens, padded on the right."""
        return self.ids[:, self.prompt_mask.shape[1] :]


@torch.inference_mode()
def sample(
    model: Any,
    prompts: Sequence[Sequence[int]],
    *,
    uniforms: Tensor,
    temperature: float | Tensor,
    eos_ids: Sequence[int],
    pad_id: int,
    layers: int = 0,
) -> Samples:
    """Samples one response to each prompt.

    The draw at step t of row b is decided by `uniforms[b, t]` alone (inverse transform sampling over the full
    distribution), so a row's response does not depend on which rows it is batched with, up to rounding.

    Args:
        model: A causal language model of transformers.
        prompts: B prompts as token ids, without padding.
        uniforms: `[B, T]` float32 in [0, 1); T is the largest number of new tokens.
        temperature: Divides the logits; 0 takes the most likely token. One for all, or `[B]` float32, one for each.
        eos_ids: Tokens that end a response.
        pad_id: Token that fills the positions without one.
        layers: After how many of the lowest layers to keep the states; 0 keeps none.

    Raises:
        PreflowError: Prompts and responses do not fit into the model's positions.
    """
    device = model.device
    uniforms = uniforms.to(device)
    batch, steps = uniforms.shape
    temperatures = torch.as_tensor(temperature, dtype=torch.float32, device=device).expand(batch)
    prompt_ids, prompt_mask = _padded(prompts, pad_id, device)
    width, lengths = prompt_ids.shape[1], prompt_mask.sum(1)
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and width + steps > positions:
        raise PreflowError(
            f"prompts of up to {width} tokens and answers of up to {steps} do not fit into the model's {positions} "
            "positions; shorten the prompts or lower `target_sequence_length`"
        )

    response = torch.full((batch, steps), pad_id, device=device)
    logprobs = torch.zeros(batch, steps, device=device)
    sampled = torch.zeros(batch, steps, dtype=torch.bool, device=device)
    stopped = torch.zeros(batch, dtype=torch.bool, device=device)
    eos = torch.tensor(list(eos_ids), device=device)

    rows = torch.arange(batch, device=device)  # the rows still in the batch
    mask = torch.cat([prompt_mask, torch.ones(batch, steps, dtype=torch.bool, device=device)], 1).long()
    cache = block_cache(model)
    with _states_after(layers, model) as seen:
        logits, copies = _read_prompts(model, prompts, prompt_ids, prompt_mask, cache)
        states = _room(seen.pop()[copies], prompt_mask, steps) if layers else None
        for step in range(steps):
            tokens, chosen = _draw(logits, uniforms[rows, step], temperatures[rows])
            response[rows, step] = tokens
            logprobs[rows, step] = chosen
            sampled[rows, step] = True
            ended = torch.isin(tokens, eos)
            stopped[rows[ended]] = True
            if step + 1 == steps or bool(ended.all()):
                break
            if bool(ended.any()):
                keep = (~ended).nonzero().squeeze(1)
                cache.batch_select_indices(keep)
                rows, tokens = rows[keep], tokens[keep]
            logits = model(
                input_ids=tokens[:, None],
                attention_mask=mask[rows, : width + step + 1],
                position_ids=(lengths[rows] + step)[:, None],
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]
            if states is not None:
                states[rows, width + step] = seen.pop()[:, 0]
    used = int(sampled.any(0).sum())
    return Samples(
        ids=torch.cat([prompt_ids, response[:, :used]], 1),
        prompt_mask=prompt_mask,
        response_mask=sampled[:, :used],
        logprobs=logprobs[:, :used],
        stopped=stopped,
        states=None if states is None else states[:, : width + used],
    )


def joined(parts: Sequence[Samples], pad_id: int) -> Samples:
    """The rows of several samples, with prompts padded on the left and responses on the right to common widths."""
    if len(parts) == 1:
        return parts[0]
    prompt = max(part.prompt_mask.shape[1] for part in parts)
    response = max(part.response_mask.shape[1] for part in parts)

    def widened(part: Samples) -> Samples:
        left, right = prompt - part.prompt_mask.shape[1], response - part.response_mask.shape[1]
        return Samples(
            ids=pad(part.ids, (left, right), value=pad_id),
            prompt_mask=pad(part.prompt_mask, (left, 0)),
            response_mask=pad(part.response_mask, (0, right)),
            logprobs=pad(part.logprobs, (0, right)),
            stopped=part.stopped,
            states=None if part.states is None else pad(part.states, (0, 0, left, right)),
        )

    columns = zip(*(vars(widened(part)).values() for part in parts), strict=True)
    joint: Any = [None if column[0] is None else torch.cat(column) for column in columns]
    return Samples(*joint)


def decode(samples: Samples, tokenizer: Any) -> list[str]:
    """The texts of sampled responses, without special tokens."""
    rows, lengths = samples.response_ids.tolist(), samples.lengths.tolist()
    return [
        tokenizer.decode(ids[:length], skip_special_tokens=True).replace("\0", "")
        for ids, length in zip(rows, lengths, strict=True)
    ]


def _padded(prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """`[B, P]` prompts padded on the left, and the mask of their tokens."""
    width = max(len(prompt) for prompt in prompts)
    ids = [[pad_id] * (width - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[False] * (width - len(prompt)) + [True] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _read_prompts(
    model: Any, prompts: Sequence[Sequence[int]], ids: Tensor, mask: Tensor, cache: DynamicCache
) -> tuple[Tensor, Tensor]:
    """Reads equal prompts once, then repeats their cache entries.

    Returns:
        `[B, V]` logits after the prompts, and the `[B]` int64 number of the row that each prompt was read in.
    """
    numbers: dict[tuple[int, ...], int] = {}  # of distinct prompts, in order of appearance
    number = [numbers.setdefault(tuple(prompt), len(numbers)) for prompt in prompts]
    first = torch.tensor([number.index(one) for one in range(len(numbers))], device=ids.device)
    distinct = mask[first].long()
    logits: Tensor = model(
        input_ids=ids[first],
        attention_mask=distinct,
        position_ids=(distinct.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    copies = torch.tensor(number, device=ids.device)
    if len(numbers) == len(prompts):
        return logits, copies
    cache.batch_select_indices(copies)
    return logits[copies], copies


@contextmanager
def _states_after(layers: int, model: Any) -> Iterator[list[Tensor]]:
    """A list that gets the states after the lowest `layers` layers of each forward pass; it stays empty for 0."""
    seen: list[Tensor] = []
    if not layers:
        yield seen
        return
    layer = getattr(model, model.base_model_prefix).layers[layers - 1]
    hook = layer.register_forward_hook(
        lambda _layer, _inputs, outputs: seen.append(outputs[0] if isinstance(outputs, tuple) else outputs)
    )
    try:
        yield seen
    finally:
        hook.remove()


def _room(states: Tensor, mask: Tensor, steps: int) -> Tensor:
    """`[B, P + T, H]` of `[B, P, H]` states, with room for T steps. Those of padding may be NaN, and become 0."""
    return pad(torch.where(mask[:, :, None], states, 0.0), (0, 0, 0, steps))


def _draw(logits: Tensor, uniforms: Tensor, temperatures: Tensor) -> tuple[Tensor, Tensor]:
    """`[B]` tokens drawn from `[B, V]` logits at `[B]` temperatures, and their log-probabilities (at 1 for 0).

    One buffer of `[B, V]` floats is changed in place: allocating more of that size costs more than the arithmetic.
    """
    scaled = logits.float() if logits.dtype != torch.float32 else logits.clone()
    greedy = temperatures == 0
    divisors = torch.where(greedy, 1.0, temperatures)[:, None]
    scaled.div_(divisors)
    # Cumulative sums of exp(logit - highest) are the distribution function times `total`. Drawing with uniforms * total
    # saves the division, and log(total) is what separates a shifted logit from its log-probability.
    highest, best = scaled.max(-1, keepdim=True)
    cumulative = scaled.sub_(highest).exp_().cumsum_(-1)
    total = cumulative[:, -1:]
    tokens = torch.searchsorted(cumulative, uniforms[:, None] * total, right=True).clamp_(max=logits.shape[-1] - 1)
    tokens = torch.where(greedy[:, None], best, tokens)
    chosen = logits.gather(1, tokens).float() / divisors - highest - total.log()
    return tokens.squeeze(1), chosen.squeeze(1)
