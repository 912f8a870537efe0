"""Train a reward model on preference pairs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from preflow.errors import PreflowError
from preflow.models import load_encoder, seeded
from preflow.progress import track
from preflow.reward.accuracy import judge_pairs
from preflow.reward.config import RewardModelConfig
from preflow.reward.model import RewardModel
from preflow.reward.scripted import scripted_pairs
from preflow.rows import Preference, Prompt, read_rows
from preflow.scoring.registry import encoding

_HEAD_RATE = 100.0  # the head is new, and has few pairs to learn from
_WARMUP, _WEIGHT_DECAY, _MAX_GRADIENT_NORM = 0.1, 0.01, 1.0


def train_reward_model(
    *,
    pairs: Path,
    prompts: Path,
    base_model: str,
    encoder: str,
    output: Path,
    config: RewardModelConfig,
) -> dict[str, Any]:
    """Trains on the pairs of train prompts, calibrates and measures on those of validation prompts.

    A third of what it trains on are scripted pairs, which prefer a good answer to a copied or shuffled prompt or to the
    answer to another prompt.

    Args:
        pairs: File of preference rows.
        prompts: File of prompt rows; the references of validation prompts set the zero point, those of train prompts
            are the good answers of scripted pairs.
        base_model: Reference of an encoder or a causal language model.
        encoder: Reference of the sentence encoder of the similarity baseline.
        output: Folder of the reward model to write; its summary.json holds what is returned but for curve and matrix.
        config: Settings.

    Returns:
        Accuracy on validation pairs with its 95 % interval (bootstrap over prompts), the accuracies of preferring the
        longer answer and of preferring the answer more similar to the prompt, ROC curve and confusion matrix, zero
        point and scale; the number of pairs, and the share of scripted ones in training (`scripted_pairs`).

    Raises:
        PreflowError: There is no pair to train on or to measure with.
    """
    rows = read_rows(pairs, Preference)
    train, validation = ([row for row in rows if row.split == split] for split in ("train", "validation"))
    for name, part in (("train", train), ("validation", validation)):
        if not part:
            raise PreflowError(f"{pairs}: no pair of a {name} prompt; log more prompts or lower `min_score_gap`")
    with seeded(config.seed):
        model = RewardModel(base_model, max_length=config.max_length)
    prompt_rows = read_rows(prompts, Prompt, allow_empty=True)
    references = {row.prompt_id: row.reference for row in prompt_rows if row.reference}
    scripted = scripted_pairs(train, references, config.seed)
    _fit(model, [*train, *scripted], config)
    _calibrate(model, prompt_rows, validation)
    summary = {
        "train_pairs": len(train),
        "scripted_pairs": len(scripted) / (len(train) + len(scripted)),
        "validation_pairs": len(validation),
        "zero_point": model.zero_point,
        "scale": model.scale,
        **judge_pairs(model, validation, encoding(load_encoder(encoder)), config.seed),
    }
    model.save(output, {name: value for name, value in summary.items() if name not in ("roc", "confusion")})
    return summary


def pair_loss(chosen: Tensor, rejected: Tensor, weights: Tensor, targets: Tensor) -> Tensor:
    """The weighted mean of `-t log sigmoid(d) - (1 - t) log sigmoid(-d)` with `d = r_chosen - r_rejected`.

    For a target of 1 this is Bradley and Terry's loss (arXiv:2009.01325, eq. 1). A target is the share of votes for
    the chosen answer: at the minimum, the model is as sure as the voters were.

    Args:
        chosen: `[B]` raw rewards.
        rejected: `[B]` raw rewards.
        weights: `[B]`, not all zero.
        targets: `[B]` in [0, 1].
    """
    log_sigmoid = torch.nn.functional.logsigmoid
    margins = chosen - rejected
    likelihoods = targets * log_sigmoid(margins) + (1 - targets) * log_sigmoid(-margins)
    return -(weights * likelihoods).sum() / weights.sum()


def _fit(model: RewardModel, pairs: Sequence[Preference], config: RewardModelConfig) -> None:
    steps, rate = config.train_steps, config.learning_rate
    head = [*model.head.parameters(), model.likeness]
    groups = [{"params": list(model.backbone.parameters()), "lr": rate}, {"params": head, "lr": rate * _HEAD_RATE}]
    optimizer = torch.optim.AdamW(groups, weight_decay=_WEIGHT_DECAY, fused=True)
    warmup = max(1, round(_WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, (steps - step) / max(1, steps - warmup)))
    )
    model.eval()  # dropout stays off: it would only add noise, as there are few pairs
    with track("reward model steps", steps) as advance:
        for batch in _batches(pairs, steps, config.batch_size, config.seed):
            prompts = {(row.prompt_id, text): row.prompt for row in batch for text in (row.chosen, row.rejected)}
            raw = model([*prompts.values()], [text for _, text in prompts])
            numbers = {answer: number for number, answer in enumerate(prompts)}
            chosen = raw[[numbers[row.prompt_id, row.chosen] for row in batch]]
            rejected = raw[[numbers[row.prompt_id, row.rejected] for row in batch]]
            weights, targets = torch.tensor([(row.weight, row.agreement) for row in batch], device=raw.device).T
            loss = pair_loss(chosen, rejected, weights, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), _MAX_GRADIENT_NORM)
            optimizer.step()
            schedule.step()
            advance(1, f"loss {loss.item():.3f}")


def _batches(pairs: Sequence[Preference], steps: int, batch_size: int, seed: int) -> Iterator[list[Preference]]:
    """Yields `steps` batches; each pass over the pairs has a new order of prompts.

    The pairs of a prompt stay together: an answer that is in several of them is read once (arXiv:2203.02155, 3.5).
    """
    generator = torch.Generator().manual_seed(seed)
    of_prompt: dict[str, list[Preference]] = {}
    for pair in pairs:
        of_prompt.setdefault(pair.prompt_id, []).append(pair)
    groups = list(of_prompt.values())
    queue: list[Preference] = []
    size = min(batch_size, len(pairs))
    for _ in range(steps):
        if len(queue) < size:
            queue += [pair for row in torch.randperm(len(groups), generator=generator).tolist() for pair in groups[row]]
        yield queue[:size]
        del queue[:size]


def _calibrate(model: RewardModel, prompts: Sequence[Prompt], validation: Sequence[Preference]) -> None:
    """Sets the zero point and the scale.

    The zero point is the mean raw reward of reference answers to validation prompts, or of the preferred answers if no
    prompt has a reference: a score of 0 then means as good as a reference (arXiv:2403.17031, detail on the RM bias).
    The scale is the standard deviation of raw rewards of all validation answers.
    """
    references = [(row.prompt, row.reference) for row in prompts if row.reference and row.split == "validation"]
    good = references or [(row.prompt, row.chosen) for row in validation]
    answers = [(row.prompt, text) for row in validation for text in (row.chosen, row.rejected)]
    model.zero_point, model.scale = 0.0, 1.0
    zero_point = float(model.score(*zip(*good, strict=True)).mean())
    scale = float(model.score(*zip(*answers, strict=True)).std(correction=0))
    model.zero_point, model.scale = zero_point, max(scale, 1e-6)
