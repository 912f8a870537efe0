"""Let a model answer the evaluation prompts, and measure how far a tuned one is from its base."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from preflow.evaluation.base_config import AnswerSettings
from preflow.generation.batches import sample_batches, uniforms_of
from preflow.generation.sampler import Samples, decode
from preflow.identity import digest_json
from preflow.models import device
from preflow.rows import Prompt, Reply


def answer(
    label: str,
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    temperatures: Sequence[float],
    config: AnswerSettings,
) -> dict[float, list[Reply]]:
    """By temperature, one answer to each prompt, in order. `label` names the progress bar.

    The random numbers belong to the prompt: whatever model answers at whatever temperature draws with the same ones.
    """
    asked = [prompt for prompt in prompts for _ in temperatures]  # side by side, so that each prompt is read once
    heats = [*temperatures] * len(prompts)
    replies: dict[int, Reply] = {}
    for rows, samples, _ in sample_batches(
        model,
        tokenizer,
        asked,
        uniforms=_uniforms(asked, config.seed, config.max_tokens),
        temperatures=heats,
        batch_size=config.batch_size,
        label=label,
    ):
        columns = (rows, decode(samples, tokenizer), samples.lengths.tolist(), samples.stopped.tolist())
        for row, response, tokens, stopped in zip(*columns, strict=True):
            replies[row] = Reply(
                **asked[row].model_dump(include=set(Prompt.model_fields)),
                temperature=heats[row],
                response=response,
                tokens=tokens,
                finish_reason="stop" if stopped else "length",
            )
    return {
        temperature: [replies[row] for row in range(number, len(asked), len(temperatures))]
        for number, temperature in enumerate(temperatures)
    }


def kl_per_response(
    tuned: Any, base: Any, tokenizer: Any, prompts: Sequence[Prompt], temperature: float, config: AnswerSettings
) -> list[float]:
    """KL(tuned || base) in nats of one sampled response to each prompt, in the order of `prompts`.

    Responses of up to the training length are sampled from the tuned model. At each of their positions
    the KL of the two next-token distributions at that temperature is taken over the whole vocabulary,
    and summed over the response: the same expectation as summing log-ratios of the sampled tokens, with less variance.
    """
    found: dict[int, float] = {}
    for rows, samples, _ in sample_batches(
        tuned,
        tokenizer,
        prompts,
        uniforms=_uniforms(prompts, config.seed, config.target_sequence_length),
        temperatures=[temperature] * len(prompts),
        batch_size=config.batch_size,
        label="KL from the base",
    ):
        found.update(zip(rows, _kl(tuned, base, samples, temperature), strict=True))
    return [found[row] for row in range(len(prompts))]


def _uniforms(prompts: Sequence[Prompt], seed: int, steps: int) -> Callable[[list[int]], Tensor]:
    names = [digest_json([row.prompt_id, seed]) for row in prompts]
    return lambda rows: torch.stack([uniforms_of(names[row], steps) for row in rows])


@torch.inference_mode()
def _kl(tuned: Any, base: Any, samples: Samples, temperature: float, rows_at_once: int = 8) -> list[float]:
    attention = torch.cat([samples.prompt_mask, samples.response_mask], 1).long()
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    sums: list[float] = []
    for rows in torch.arange(len(samples.ids), device=device()).split(rows_at_once):  # type: ignore[no-untyped-call]
        used = slice(int(samples.prompt_mask[rows].long().argmax(1).min()), None)  # without the padding that all share
        inputs = {
            "input_ids": samples.ids[rows, used],
            "attention_mask": attention[rows, used],
            "position_ids": positions[rows, used],
        }
        keep = samples.response_mask.shape[1] + 1  # the position before a token predicts it
        logp, logq = (
            model(**inputs, use_cache=False, logits_to_keep=keep)
            .logits[:, :-1]
            .float()
            .div(temperature)
            .log_softmax(-1)
            for model in (tuned, base)
        )
        divergence = (logp.exp() * (logp - logq)).sum(-1)
        sums += (divergence * samples.response_mask[rows]).sum(1).tolist()
    return sums
