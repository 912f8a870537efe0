"""The PPO loop: sample, score, update, log, repeat."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from preflow.errors import PreflowError
from preflow.identity import digest_json
from preflow.models import load_encoder, load_tokenizer, model_digest, seeded
from preflow.ppo.algorithm import adapted
from preflow.ppo.checkpoint import (
    TrainingState,
    load_checkpoint,
    one_writer,
    put_weights,
    save_checkpoint,
)
from preflow.ppo.config import PPOConfig
from preflow.ppo.outcome import keep_best, keep_within_budget, reason_to_stop
from preflow.ppo.policy import Critic, Policy
from preflow.ppo.processes import agree, is_first, start
from preflow.ppo.reward_parts import REWARD_MODEL_ALONE, classifier_of, fitted
from preflow.ppo.reward_sources import function_digest, load_rewards
from preflow.ppo.rollout import Rollout, collect_rollout
from preflow.ppo.sampling_copy import SamplingCopy
from preflow.ppo.training_log import LengthsAndScores, event_log, log_row, sampler_strays
from preflow.ppo.update import UpdateStats, make_optimizers, update
from preflow.ppo.validation import Validation, falling_monitors, load_validation, means
from preflow.progress import track
from preflow.rows import Prompt, read_rows
from preflow.scoring.metric import Embed
from preflow.scoring.registry import encoding
from preflow.uris import delete_folder
from preflow.writing import refuse_other_files, write_text, written_beside

_KEY_LENGTH = 16
_ADAPTER_FILES = ("README.md", "adapter_config.json", "adapter_model.safetensors")
_MODEL_FILES = ("config.json", "generation_config.json", "model.safetensors")


def ppo_optimize(
    *,
    prompts: Path,
    model: str,
    reward_model: Path | None,
    output: Path,
    training_log: Path,
    config: PPOConfig,
    reward_weights: Mapping[str, float] = REWARD_MODEL_ALONE,
    encoder: str = "",
    monitors: Sequence[str] = (),
    checkpoints: str = "",
    logging_dir: str = "",
) -> dict[str, Any]:
    """Optimizes a policy with PPO (arXiv:1707.06347, arXiv:1909.08593).

    Only train prompts are used. The reference of the KL penalty is the model that the run starts from. The caller's
    random state is left unchanged.

    Args:
        prompts: File of prompt rows.
        model: Reference of the policy to start from.
        reward_model: Folder of a reward model; None if neither the reward nor the critic needs one.
        output: Folder for the policy and its tokenizer: a LoRA adapter, or the whole model.
        training_log: File for one row per update.
        config: Settings.
        reward_weights: Weights of the parts of the reward, see `load_rewards`.
        encoder: Reference of the sentence encoder, for rewards and monitors that compare meanings.
        monitors: Metrics of the validation prompts' answers that are not part of the reward.
        checkpoints: Folder or gs:// URI for checkpoints, each run's in a folder named after all its inputs; '' keeps
            none. A run that finds its checkpoint resumes from it, with a bit-identical result, and deletes it when it
            is done. It waits for another process that uses the same local folder.
        logging_dir: Folder or gs:// URI for TensorBoard logs; '' writes none.

    Returns:
        The last update's metrics; the planned, taken, skipped and left out optimizer steps; the reason of an early end,
        if any; the number of updates behind the written policy; and warnings.

    Raises:
        PreflowError: There is no train prompt, or settings, models and rewards do not fit together.
    """
    everything = read_rows(prompts, Prompt)
    rows = [row for row in everything if row.split == "train"]
    if not rows:
        raise PreflowError(f"{prompts}: no prompt of the train split; give more prompts")
    start()
    config = fitted(config, reward_weights)
    tokenizer = load_tokenizer(model)
    _check_output(output, tokenizer, config)
    folder = ""
    if checkpoints:
        used = [model, str(reward_model or ""), encoder, *(classifier_of(part)[0] for part in reward_weights)]
        models = [model_digest(one) for one in used if one]
        texts = [(row.prompt_id, row.reference) for row in everything]
        codes = [function_digest(part) for part in sorted(reward_weights)]
        settings = config.model_dump(exclude={"checkpoint_steps"})
        origin = [models, texts, dict(reward_weights), codes, list(monitors), settings]
        folder = f"{checkpoints}/{digest_json(origin)[:_KEY_LENGTH]}"
    with one_writer(folder), seeded(config.seed):
        embed = _embed(encoder, [*(name for name in reward_weights if name.startswith("scorer:")), *monitors])
        sources = load_rewards(reward_weights, reward_model=reward_model, embed=embed, config=config)
        held_out = [row for row in everything if row.split == "validation"]
        validation = load_validation(held_out, sources, monitors, embed, config)
        policy = Policy(model, config, _separate_critic(reward_model, tokenizer, reward_weights, config))
        sampler = SamplingCopy(model, policy)
        optimizers = make_optimizers(policy, config)
        generator = torch.Generator().manual_seed(config.seed)
        state = load_checkpoint(folder, policy, optimizers, generator) if folder else None
        state = state or TrainingState(config.kl_coeff)
        agree(len(state.log), f"`checkpoints`: {checkpoints} holds different numbers of updates")
        _announce(config, policy, len(state.log), watched=validation is not None)

        def roll_out() -> Rollout:
            return collect_rollout(
                _next_prompts(rows, state.queue, config, generator),
                policy, sampler, tokenizer, sources, config, generator,
                kl_coeff=state.kl_coeff, statistics=state.statistics,
            )  # fmt: skip

        started = time.monotonic() - (state.log[-1]["seconds"] if state.log else 0.0)
        with (
            track("PPO updates", config.train_steps) as advance,
            event_log(logging_dir if is_first() else "", state.log) as event,
        ):
            advance(len(state.log), "")
            while len(state.log) < config.train_steps and not state.stop_reason:
                number = len(state.log) + 1
                sampler.follow()
                judged = {}
                if validation and (number - 1) % config.eval_steps == 0:
                    judged = _judge(validation, sampler, tokenizer, policy, state, config)
                rollout = roll_out()
                keep_within_budget(policy, state, rollout.kl, config)
                state.stop_reason = reason_to_stop(state.log, rollout, config)
                if state.stop_reason:
                    stats = UpdateStats(left_out=config.optimizer_steps - (number - 1) * config.steps_per_update)
                else:
                    stats = update(policy, optimizers, rollout, config, number)
                _note(state, rollout, stats, config, judged, time.monotonic() - started)
                event(state.log[-1])
                due = number % config.checkpoint_steps == 0 or number == config.train_steps or state.stop_reason
                if folder and is_first() and due:
                    save_checkpoint(folder, policy, optimizers, generator, state)
                advance(1, f"reward {state.log[-1]['reward_mean']:+.2f}, KL {state.log[-1]['kl']:.1f}")
        sampler.follow()
        judged = _judge(validation, sampler, tokenizer, policy, state, config) if validation else {}
        if config.kl_budget and not config.keep_best and not state.stop_reason:
            kl = roll_out().kl
            keep_within_budget(policy, state, kl, config)
            if kl > config.kl_budget:
                state.warn(
                    f"the last policy's KL of {kl:.2f} exceeds kl_budget {config.kl_budget:g}: it is not written"
                )
        if state.kept:
            put_weights(policy, state.kept)
        if is_first():
            _write(policy, tokenizer, output, state.log, training_log)
            if folder:
                delete_folder(folder)
        return {**_summary(state, config), **judged}


def _check_output(output: Path, tokenizer: Any, config: PPOConfig) -> None:
    """Raises at the start, not at the end, if the output folder holds files that a policy would not replace."""
    if output.is_dir():
        with TemporaryDirectory() as scratch:
            tokenizer.save_pretrained(scratch)
            refuse_other_files(output, {*os.listdir(scratch), *(_ADAPTER_FILES if config.lora_rank else _MODEL_FILES)})


def _embed(encoder: str, metrics: Sequence[str]) -> Embed:
    """The encoder that metrics compare meanings with."""
    if metrics and not encoder:
        raise PreflowError(f"`encoder`: none given; '{metrics[0]}' compares meanings, so give a sentence encoder")
    return encoding(load_encoder(encoder) if metrics else None)


def _separate_critic(
    reward_model: Path | None, tokenizer: Any, reward_weights: Mapping[str, float], config: PPOConfig
) -> Critic | None:
    if config.critic != "separate":
        return None
    if reward_model is None:
        raise PreflowError("`critic`: 'separate' starts from the reward model, and none is given; set it to shared")
    plain = config.samples_per_prompt == 1 and not config.normalize_reward
    return Critic(reward_model, tokenizer, returns_are_scores=plain and reward_weights == REWARD_MODEL_ALONE)


def _announce(config: PPOConfig, policy: Policy, done: int, *, watched: bool) -> None:
    if is_first():
        again = f", resumed after update {done}" if done else ""
        blind = ", `eval_steps` without effect as no prompt is in the validation split"
        print(
            f"PPO: {config.train_steps} updates of {config.batch_size} episodes, "
            f"{config.optimizer_steps} optimizer steps{again}{blind if config.eval_steps and not watched else ''}\n"
            f"PPO: {policy.code_path}",
            flush=True,
        )


def _next_prompts(
    rows: Sequence[Prompt], queue: list[int], config: PPOConfig, generator: torch.Generator
) -> list[Prompt]:
    """Prompts of an update, each repeated for its samples; every pass over all prompts is in a new order."""
    distinct = config.batch_size // config.samples_per_prompt
    while len(queue) < distinct:
        queue += torch.randperm(len(rows), generator=generator).tolist()
    batch = [rows[index] for index in queue[:distinct] for _ in range(config.samples_per_prompt)]
    del queue[:distinct]
    return batch


def _judge(
    validation: Validation,
    sampler: SamplingCopy,
    tokenizer: Any,
    policy: Policy,
    state: TrainingState,
    config: PPOConfig,
) -> dict[str, float]:
    """Judges answers to the validation prompts; warns if monitors fall as the reward rises; keeps the best policy."""
    scores = validation.scores(policy, sampler, tokenizer, config)
    found = means(scores)
    state.first_validation = state.first_validation or scores
    falling = falling_monitors(scores, state.first_validation)
    for name in falling:
        state.warn(f"after update {state.updates} the reward is higher and {name} lower than at the start")
    if config.keep_best and not falling:
        keep_best(policy, state, found, config)
    return {**found, "validation/falling_monitors": len(falling)}


def _note(
    state: TrainingState,
    rollout: Rollout,
    stats: UpdateStats,
    config: PPOConfig,
    judged: Mapping[str, float],
    seconds: float,
) -> None:
    """Adds an update to the state: its log row, and what the next update depends on."""
    if not state.log:
        state.first_lengths = rollout.mask.sum(1).float().tolist()
        state.first_scores = rollout.scores.tolist()
    first = LengthsAndScores(state.first_lengths, state.first_scores)
    row = log_row(len(state.log) + 1, rollout, stats, config, kl_coeff=state.kl_coeff, first=first, seconds=seconds)
    state.log.append({**row, **judged})
    if sampler_strays(state.log):
        state.warn(
            "the sampler differs from the policy by more than an update changes it, see `sampler_gap` in the log"
        )
    state.statistics = rollout.statistics
    state.kl_coeff = adapted(state.kl_coeff, rollout.kl, config.kl_target, config.batch_size, config.horizon)


def _write(policy: Policy, tokenizer: Any, output: Path, log: Sequence[dict[str, Any]], training_log: Path) -> None:
    with written_beside(output) as beside:
        policy.save(beside)
        tokenizer.save_pretrained(beside)
    write_text(training_log, "".join(json.dumps(row) + "\n" for row in log))


def _summary(state: TrainingState, config: PPOConfig) -> dict[str, Any]:
    steps = ("optimizer_steps", "skipped_steps", "left_out_steps")
    return {
        **state.log[-1],
        **{name: int(sum(row[name] for row in state.log)) for name in steps},
        "planned_steps": config.optimizer_steps,
        "stop_reason": state.stop_reason,
        "written_update": state.kept_update if state.kept else state.updates,
        "warnings": state.warnings,
    }
