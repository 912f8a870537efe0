"""One response to each of many prompts, batch by batch."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from preflow.chat import encode_prompt
from preflow.generation.sampler import Samples, sample
from preflow.models import eos_ids
from preflow.progress import track
from preflow.rows import Prompt


class Batch(NamedTuple):
    """Sampled responses to the prompts at the positions `rows`, and how many seconds sampling took."""

    rows: list[int]
    samples: Samples
    seconds: float


def sample_batches(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    uniforms: Callable[[list[int]], Tensor],
    temperatures: Sequence[float],
    batch_size: int,
    label: str,
) -> Iterator[Batch]:
    """Samples one response to each prompt. Prompts of similar length share a batch, the longest come first.

    Args:
        model: A causal language model of transformers.
        tokenizer: Its tokenizer.
        prompts: Prompt rows; the same prompt may occur several times.
        uniforms: Gives the `[B, T]` random numbers in [0, 1) for the prompts at B positions; T is the token limit.
        temperatures: Sampling temperature of each prompt; 0 takes the most likely token.
        batch_size: Responses per batch.
        label: Name of the progress bar, which advances when the caller asks for the next batch.
    """
    distinct = {row.prompt_id: row.prompt for row in prompts}
    encoded = {name: encode_prompt(tokenizer, prompt) for name, prompt in distinct.items()}
    # Longest first: a batch that does not fit into memory fails at once, not after an hour.
    order = sorted(range(len(prompts)), key=lambda row: -len(encoded[prompts[row].prompt_id]))
    with track(label, len(order)) as advance:
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            started = time.monotonic()
            samples = sample(
                model,
                [encoded[prompts[row].prompt_id] for row in rows],
                uniforms=uniforms(rows),
                temperature=torch.tensor([temperatures[row] for row in rows]),
                eos_ids=eos_ids(model, tokenizer),
                pad_id=tokenizer.pad_token_id,
            )
            yield Batch(rows, samples, time.monotonic() - started)
            advance(len(rows))


def uniforms_of(name: str, steps: int) -> Tensor:
    """`[steps]` uniform random numbers that depend on an id (32 hex digits) alone, not on batch or process."""
    generator = torch.Generator().manual_seed(uuid.UUID(name).int & 0x7FFF_FFFF_FFFF_FFFF)
    return torch.rand(steps, generator=generator)
