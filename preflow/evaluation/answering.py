"""Let a model answer the evaluation prompts, and measure how far a tuned one is from its base."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from preflow.evaluation.config import EvaluationConfig
from preflow.generation.batches import sample_batches
from preflow.generation.sampler import Samples, decode
from preflow.models import device
from preflow.rows import Prompt


class Reply(NamedTuple):
    """One answer: its text, its number of tokens, and whether the model ended it by itself."""

    response: str
    tokens: int
    stopped: bool


def answer(label: str, model: Any, tokenizer: Any, prompts: Sequence[Prompt], config: EvaluationConfig) -> list[Reply]:
    """One answer to each prompt, in order. `label` names the progress bar."""
    replies: dict[int, Reply] = {}
    for rows, samples, _ in sample_batches(
        model,
        tokenizer,
        prompts,
        uniforms=_uniforms(config.seed, config.max_tokens),
        temperature=config.temperature,
        batch_size=config.batch_size,
        label=label,
    ):
        fields = (decode(samples, tokenizer), samples.lengths.tolist(), samples.stopped.tolist())
        replies.update(zip(rows, map(Reply, *fields), strict=True))
    return [replies[row] for row in range(len(prompts))]


def kl_per_response(
    tuned: Any, base: Any, tokenizer: Any, prompts: Sequence[Prompt], config: EvaluationConfig
) -> list[float]:
    """KL(tuned || base) in nats of one sampled response to each prompt, in the order of `prompts`.

    Responses of up to the training length are sampled from the tuned model at temperature 1. At each of their positions
    the KL of the two next-token distributions is taken over the whole vocabulary, and summed over the response: the
    same expectation as summing log-ratios of the sampled tokens, with less variance.
    """
    found: dict[int, float] = {}
    for rows, samples, _ in sample_batches(
        tuned,
        tokenizer,
        prompts,
        uniforms=_uniforms(config.seed, config.target_sequence_length),
        temperature=1.0,
        batch_size=config.batch_size,
        label="KL from the base",
    ):
        found.update(zip(rows, _kl(tuned, base, samples), strict=True))
    return [found[row] for row in range(len(prompts))]


def _uniforms(seed: int, steps: int) -> Callable[[list[int]], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda rows: torch.rand(len(rows), steps, generator=generator)


@torch.inference_mode()
def _kl(tuned: Any, base: Any, samples: Samples, rows_at_once: int = 8) -> list[float]:
    attention = torch.cat([samples.prompt_mask, samples.response_mask], 1).long()
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    sums: list[float] = []
    for rows in torch.arange(len(samples.ids), device=device()).split(rows_at_once):  # type: ignore[no-untyped-call]
        inputs = {"input_ids": samples.ids[rows], "attention_mask": attention[rows], "position_ids": positions[rows]}
        keep = samples.response_mask.shape[1] + 1  # the position before a token predicts it
        logp, logq = (
            model(**inputs, use_cache=False, logits_to_keep=keep).logits[:, :-1].float().log_softmax(-1)
            for model in (tuned, base)
        )
        divergence = (logp.exp() * (logp - logq)).sum(-1)
        sums += (divergence * samples.response_mask[rows]).sum(1).tolist()
    return sums
