"""The PPO loop: sample, score, update, log, again."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from preflow.errors import PreflowError
from preflow.identity import split_of
from preflow.models import load_tokenizer
from preflow.ppo.config import PPOConfig
from preflow.ppo.kl import k1, k3
from preflow.ppo.masked import masked_mean
from preflow.ppo.policy import Policy
from preflow.ppo.rollout import Rollout, collect
from preflow.ppo.sampling_copy import SamplingCopy
from preflow.ppo.update import UpdateStats, update
from preflow.progress import track
from preflow.reward.model import RewardModel
from preflow.rows import Prompt, read_rows
from preflow.writing import written_beside


def optimize_policy(
    *, prompts: Path, model: str, reward_model: Path, output: Path, training_log: Path, config: PPOConfig
) -> dict[str, Any]:
    """Optimizes a policy against a reward model with PPO (arXiv:1707.06347, arXiv:1909.08593).

    Only train prompts are used. The reference of the KL penalty is the model that the run starts from.

    Args:
        prompts: File of prompt rows.
        model: Reference of the policy to start from.
        reward_model: Folder of a reward model.
        output: Folder to write the LoRA adapter and the tokenizer to.
        training_log: File to write one row an update to.
        config: Settings.

    Returns:
        The last update's metrics, and the planned, taken and skipped optimizer steps.

    Raises:
        PreflowError: There is no train prompt.
    """
    rows = [row for row in read_rows(prompts, Prompt) if split_of(row.prompt_id) == "train"]
    if not rows:
        raise PreflowError(f"{prompts}: no prompt of the train split; give more prompts")
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(model)
    policy = Policy(model, lora_rank=config.lora_rank, lora_layers=config.lora_layers, temperature=config.temperature)
    sampler = SamplingCopy(model, policy)
    judge = RewardModel.load(reward_model)
    optimizer = torch.optim.AdamW(
        [
            {"params": list(policy.adapter_parameters()), "lr": config.learning_rate},
            {"params": list(policy.value_head.parameters()), "lr": config.value_learning_rate},
        ],
        weight_decay=0.0,
        eps=1e-5,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config))
    generator = torch.Generator().manual_seed(config.seed)
    print(
        f"PPO: {config.train_steps} updates of {config.batch_size} episodes, {config.optimizer_steps} optimizer steps",
        flush=True,
    )

    log: list[dict[str, Any]] = []
    taken = skipped = 0
    started = time.monotonic()
    with track("PPO updates", config.train_steps) as advance:
        for number, batch in enumerate(_episodes(rows, config, generator), start=1):
            sampler.follow()
            rate = optimizer.param_groups[0]["lr"]
            rollout = collect(batch, policy, sampler.model, tokenizer, judge, config, generator)
            stats = update(policy, optimizer, schedule, rollout, config, generator)
            log.append(_log_row(number, rollout, stats, config, rate, time.monotonic() - started))
            taken, skipped = taken + stats.steps, skipped + stats.skipped
            advance(1, f"reward {log[-1]['reward_mean']:+.2f}, KL {log[-1]['kl']:.1f}")
    _write(policy, tokenizer, output, log, training_log)
    return {**log[-1], "optimizer_steps": taken, "planned_steps": config.optimizer_steps, "skipped_steps": skipped}


def _episodes(rows: Sequence[Prompt], config: PPOConfig, generator: torch.Generator) -> Iterator[list[Prompt]]:
    """The prompts of each update, each as often as it is sampled, pass after pass over all of them in a new order."""
    queue: list[int] = []
    distinct = config.batch_size // config.samples_per_prompt
    for _ in range(config.train_steps):
        while len(queue) < distinct:
            queue += torch.randperm(len(rows), generator=generator).tolist()
        yield [rows[place] for place in queue[:distinct] for _ in range(config.samples_per_prompt)]
        del queue[:distinct]


def _rate(step: int, config: PPOConfig) -> float:
    """Warm-up over the first update's steps, then a linear fall to 0 at the end of the run."""
    warmup = config.epochs * config.minibatches
    left = (config.optimizer_steps - step) / max(1, config.optimizer_steps - warmup)
    return min((step + 1) / warmup, max(0.0, left), 1.0)


def _log_row(
    number: int, rollout: Rollout, stats: UpdateStats, config: PPOConfig, rate: float, seconds: float
) -> dict[str, Any]:
    mask = rollout.episodes.response_mask
    lengths = mask.sum(1).float()
    rewards, values = rollout.returns[mask], rollout.values[mask]
    unexplained = (rewards - values).var(correction=0) / rewards.var(correction=0).clamp(min=1e-8)
    return {
        "update": number,
        "episodes": number * config.batch_size,
        "seconds": round(seconds, 2),
        "reward_mean": float(rollout.scores.mean()),
        "reward_std": float(rollout.scores.std(correction=0)),
        "kl": float((k1(rollout.logprobs, rollout.reference) * mask).sum(1).mean()),
        "kl_k3": float((k3(rollout.logprobs, rollout.reference) * mask).sum(1).mean()),
        "entropy": float(masked_mean(rollout.entropy, mask)),
        "response_tokens_mean": float(lengths.mean()),
        "response_tokens_p95": float(lengths.quantile(0.95)),
        "eos_rate": float(rollout.stopped.float().mean()),
        "explained_variance": float(1 - unexplained),
        "sampler_gap": rollout.sampler_gap,
        "nonfinite_scores": rollout.nonfinite_scores,
        "learning_rate": rate,
        "kl_coeff": config.kl_coeff,
        **stats.row(),
    }


def _write(policy: Policy, tokenizer: Any, output: Path, log: Sequence[dict[str, Any]], training_log: Path) -> None:
    with written_beside(output) as beside:
        policy.save(beside)
        tokenizer.save_pretrained(beside)
    with written_beside(training_log) as beside:
        beside.write_text("".join(json.dumps(row) + "\n" for row in log))
