"""Let a model answer the evaluation prompts, and measure how far a tuned one is from its base."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from preflow.chat import encode_prompt
from preflow.generation.sampler import Samples, decode, sample
from preflow.models import device, eos_ids
from preflow.progress import track
from preflow.rows import Prompt


class Reply(NamedTuple):
    """One answer: its text, its number of tokens, and whether the model ended it by itself."""

    response: str
    tokens: int
    stopped: bool


def answer(
    label: str,
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    max_tokens: int,
    temperature: float,
    batch_size: int,
    seed: int,
) -> list[Reply]:
    """One answer to each prompt, in order. `label` names the progress bar."""
    replies: dict[str, Reply] = {}
    generator = torch.Generator().manual_seed(seed)
    encoded = {row.prompt_id: encode_prompt(tokenizer, row.prompt) for row in prompts}
    order = sorted(prompts, key=lambda row: -len(encoded[row.prompt_id]))
    with track(label, len(order)) as advance:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            samples = _sample(
                model, tokenizer, [encoded[row.prompt_id] for row in batch], max_tokens, temperature, generator
            )
            fields = (decode(samples, tokenizer), samples.lengths.tolist(), samples.stopped.tolist())
            for row, text, tokens, stopped in zip(batch, *fields, strict=True):
                replies[row.prompt_id] = Reply(text, tokens, stopped)
            advance(len(batch))
    return [replies[row.prompt_id] for row in prompts]


def kl_per_response(
    tuned: Any, base: Any, tokenizer: Any, prompts: Sequence[Prompt], *, max_tokens: int, batch_size: int, seed: int
) -> list[float]:
    """KL(tuned || base) in nats of one sampled response to each prompt, in the order of `prompts`.

    Responses are sampled from the tuned model at temperature 1. At each of their positions the KL of the two
    next-token distributions is taken over the whole vocabulary, and summed over the response: the same expectation as
    summing log-ratios of the sampled tokens, with less variance.
    """
    found: dict[str, float] = {}
    generator = torch.Generator().manual_seed(seed)
    encoded = {row.prompt_id: encode_prompt(tokenizer, row.prompt) for row in prompts}
    order = sorted(prompts, key=lambda row: -len(encoded[row.prompt_id]))
    with track("KL from the base", len(order)) as advance:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            samples = _sample(tuned, tokenizer, [encoded[row.prompt_id] for row in batch], max_tokens, 1.0, generator)
            for row, value in zip(batch, _kl(tuned, base, samples), strict=True):
                found[row.prompt_id] = value
            advance(len(batch))
    return [found[row.prompt_id] for row in prompts]


def _sample(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    temperature: float,
    generator: torch.Generator,
) -> Samples:
    return sample(
        model,
        prompts,
        uniforms=torch.rand(len(prompts), max_tokens, generator=generator),
        temperature=temperature,
        eos_ids=eos_ids(model, tokenizer),
        pad_id=tokenizer.pad_token_id,
    )


@torch.inference_mode()
def _kl(tuned: Any, base: Any, samples: Samples, rows_at_once: int = 8) -> list[float]:
    attention = torch.cat([samples.prompt_mask, samples.response_mask], 1).long()
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    sums: list[float] = []
    for rows in torch.arange(len(samples.ids), device=device()).split(rows_at_once):  # type: ignore[no-untyped-call]
        inputs = {"input_ids": samples.ids[rows], "attention_mask": attention[rows], "position_ids": positions[rows]}
        keep = samples.response_mask.shape[1] + 1
        logp, logq = (
            model(**inputs, use_cache=False, logits_to_keep=keep).logits[:, :-1].float().log_softmax(-1)
            for model in (tuned, base)
        )
        divergence = (logp.exp() * (logp - logq)).sum(-1)
        sums += (divergence * samples.response_mask[rows]).sum(1).tolist()
    return sums
