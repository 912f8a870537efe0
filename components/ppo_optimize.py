"""ppo-optimize: the policy learns from the reward."""

from typing import Any

from kfp.dsl import Dataset, Input, Metrics, Model, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def ppo_optimize(
    prompts: Input[Dataset],
    reward_model: Input[Model],
    model: str,
    policy_digest: str,
    train_steps: int,
    batch_size: int,
    samples_per_prompt: int,
    epochs: int,
    minibatches: int,
    learning_rate: float,
    kl_coeff: float,
    missing_eos_penalty: float,
    lora_rank: int,
    ppo_options: dict[str, Any],
    reward_weights: dict[str, float],
    encoder: str,
    encoder_digest: str,
    classifiers_digest: str,
    monitors: list[str],
    eval_steps: int,
    temperature: float,
    target_sequence_length: int,
    seed: int,
    checkpoint_root: str,
    code_version: str,
    policy: Output[Model],
    training_log: Output[Dataset],
    metrics: Output[Metrics],
) -> None:
    """Optimizes the policy with PPO against a reward, held near the policy it started from.

    Args:
        prompts: Prompt rows.
        reward_model: The reward model, for the part of the reward of that name.
        model: The policy to tune.
        policy_digest: Digest of its files; only in the cache key.
        train_steps: PPO updates.
        batch_size: Episodes per update.
        samples_per_prompt: Episodes of the same prompt; must divide batch_size.
        epochs: Passes over the episodes of an update.
        minibatches: Minibatches per pass; must divide batch_size / samples_per_prompt.
        learning_rate: Peak learning rate; 0 takes one that fits what is trained.
        kl_coeff: Weight of the divergence in the reward.
        missing_eos_penalty: Taken off the score of answers that hit the length limit.
        lora_rank: Rank of the adapter; 0 trains the weights themselves.
        ppo_options: Further settings of PPO, by their names in PPOConfig.
        reward_weights: Weights of the parts of the reward.
        encoder: The sentence encoder of rewards and monitors that compare meanings.
        encoder_digest: Digest of its files; only in the cache key.
        classifiers_digest: Digest of the files of classifiers in the reward; only in the cache key.
        monitors: Metrics that watch the validation prompts during training.
        eval_steps: Updates between two evaluations on validation prompts; 0 for none.
        temperature: Sampling temperature of the episodes.
        target_sequence_length: Longest answer in tokens.
        seed: Seed of sampling and order.
        checkpoint_root: Folder of checkpoints, from which a killed step goes on; '' for none.
        code_version: Digest of this step's code, in the cache key and in the checkpoint's path.
        policy: The tuned policy.
        training_log: One row per update.
        metrics: The last row of the training log.
    """
    import os
    from pathlib import Path

    from preflow.ppo import PPOConfig, ppo_optimize
    from preflow.runtime import prepare_process

    config = PPOConfig.of(locals())
    prepare_process(keep_freed_memory=True)
    summary = ppo_optimize(
        prompts=Path(prompts.path),
        model=model,
        reward_model=Path(reward_model.path),
        output=Path(policy.path),
        training_log=Path(training_log.path),
        reward_weights=reward_weights,
        encoder=encoder,
        monitors=monitors,
        checkpoints=f"{checkpoint_root}/{code_version}" if checkpoint_root else "",
        logging_dir=os.environ.get("AIP_TENSORBOARD_LOG_DIR", ""),
        config=config,
    )
    policy.metadata.update(scalars(summary))
    metrics.metadata.update(scalars(summary, "ppo"))
