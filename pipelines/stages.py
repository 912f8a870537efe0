"""The stages as nested pipelines, so that a console shows the graph in groups: collect, learn, optimize, evaluate."""

from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model

from components.auto_score import auto_score
from components.build_preferences import build_preferences
from components.eval_inference import eval_inference
from components.feedback_snapshot import feedback_snapshot
from components.log_generations import log_generations
from components.ppo_optimize import ppo_optimize
from components.promote import promote
from components.train_reward_model import train_reward_model
from pipelines import defaults


class Collected(NamedTuple):
    """What `collect` hands on."""

    scored_generations: Dataset
    feedback: Dataset


class Learned(NamedTuple):
    """What both ways of learning preferences hand on."""

    pairs: Dataset
    reward_model: Model


class Optimized(NamedTuple):
    """What `optimize` hands on."""

    policy: Model
    training_log: Dataset


class Evaluated(NamedTuple):
    """What `evaluate` hands on."""

    evaluations: Dataset
    metrics: Metrics
    report: HTML
    promoted: bool
    reason: str


@dsl.pipeline(name="collect", display_name="Collect")
def collect(
    prompts: Input[Dataset],
    large_model_reference: str,
    policy_digest: str,
    num_prompts: int,
    num_validation_prompts: int,
    num_samples: int,
    sampling_temperature: float,
    target_sequence_length: int,
    encoder_reference: str,
    encoder_digest: str,
    label_weights: dict[str, float],
    monitors: list[str],
    feedback_watermark: str,
    database: str,
    store_id: str,
    seed: int,
    code_version: str,
) -> Collected:
    """Answers with scores, and what people said."""
    logged = log_generations(
        prompts=prompts,
        model=large_model_reference,
        policy_digest=policy_digest,
        num_prompts=num_prompts,
        num_validation_prompts=num_validation_prompts,
        num_samples=num_samples,
        temperature=sampling_temperature,
        target_sequence_length=target_sequence_length,
        batch_size=defaults.GENERATION_BATCH_SIZE,
        seed=seed,
        database=database,
        store_id=store_id,
        code_version=code_version,
    ).set_display_name("Log generations")
    scored = auto_score(
        generations=logged.outputs["generations"],
        prompts=prompts,
        encoder=encoder_reference,
        encoder_digest=encoder_digest,
        label_weights=label_weights,
        monitors=monitors,
        database=database,
        store_id=store_id,
        code_version=code_version,
    ).set_display_name("Score answers")
    said = feedback_snapshot(
        feedback_watermark=feedback_watermark, database=database, store_id=store_id, code_version=code_version
    ).set_display_name("Snapshot feedback")
    return Collected(scored_generations=scored.outputs["scored_generations"], feedback=said.outputs["feedback"])


@dsl.pipeline(name="learn-preferences", display_name="Learn preferences")
def learn_preferences(
    prompts: Input[Dataset],
    eval_prompts: Input[Dataset],
    scored_generations: Input[Dataset],
    feedback: Input[Dataset],
    preferences: Input[Dataset],
    min_score_gap: float,
    reward_model_reference: str,
    reward_base_digest: str,
    encoder_reference: str,
    encoder_digest: str,
    reward_model_train_steps: int,
    reward_model_batch_size: int,
    reward_model_learning_rate: float,
    prompt_sequence_length: int,
    target_sequence_length: int,
    seed: int,
    code_version: str,
) -> Learned:
    """Pairs from all three sources, and the reward model that learns them."""
    built = build_preferences(
        eval_prompts=eval_prompts,
        scored_generations=scored_generations,
        feedback=feedback,
        preferences=preferences,
        min_score_gap=min_score_gap,
        code_version=code_version,
    ).set_display_name("Build preferences")
    trained = train_reward_model(
        preferences=built.outputs["pairs"],
        prompts=prompts,
        base_model=reward_model_reference,
        reward_base_digest=reward_base_digest,
        encoder=encoder_reference,
        encoder_digest=encoder_digest,
        train_steps=reward_model_train_steps,
        batch_size=reward_model_batch_size,
        learning_rate=reward_model_learning_rate,
        prompt_sequence_length=prompt_sequence_length,
        target_sequence_length=target_sequence_length,
        seed=seed,
        code_version=code_version,
    ).set_display_name("Train reward model")
    return Learned(pairs=built.outputs["pairs"], reward_model=trained.outputs["reward_model"])


@dsl.pipeline(name="learn-given-preferences", display_name="Learn preferences")
def learn_given_preferences(
    prompts: Input[Dataset],
    eval_prompts: Input[Dataset],
    preferences: Input[Dataset],
    reward_model_reference: str,
    reward_base_digest: str,
    encoder_reference: str,
    encoder_digest: str,
    reward_model_train_steps: int,
    reward_model_batch_size: int,
    reward_model_learning_rate: float,
    prompt_sequence_length: int,
    target_sequence_length: int,
    seed: int,
    code_version: str,
) -> Learned:
    """Pairs from given preferences alone, and the reward model that learns them.

    A stage of its own because an absent artifact cannot travel into a nested pipeline.
    """
    built = build_preferences(
        eval_prompts=eval_prompts,
        preferences=preferences,
        min_score_gap=0.0,
        code_version=code_version,
    ).set_display_name("Build preferences")
    trained = train_reward_model(
        preferences=built.outputs["pairs"],
        prompts=prompts,
        base_model=reward_model_reference,
        reward_base_digest=reward_base_digest,
        encoder=encoder_reference,
        encoder_digest=encoder_digest,
        train_steps=reward_model_train_steps,
        batch_size=reward_model_batch_size,
        learning_rate=reward_model_learning_rate,
        prompt_sequence_length=prompt_sequence_length,
        target_sequence_length=target_sequence_length,
        seed=seed,
        code_version=code_version,
    ).set_display_name("Train reward model")
    return Learned(pairs=built.outputs["pairs"], reward_model=trained.outputs["reward_model"])


@dsl.pipeline(name="optimize", display_name="Optimize")
def optimize(
    prompts: Input[Dataset],
    reward_model: Input[Model],
    large_model_reference: str,
    policy_digest: str,
    reinforcement_learning_train_steps: int,
    reinforcement_learning_batch_size: int,
    reinforcement_learning_learning_rate: float,
    ppo_samples_per_prompt: int,
    ppo_epochs: int,
    ppo_minibatches: int,
    kl_coeff: float,
    missing_eos_penalty: float,
    lora_rank: int,
    ppo_options: dict[str, Any],
    reward_weights: dict[str, float],
    encoder_reference: str,
    encoder_digest: str,
    classifiers_digest: str,
    monitors: list[str],
    ppo_eval_steps: int,
    sampling_temperature: float,
    target_sequence_length: int,
    seed: int,
    checkpoint_root: str,
    code_version: str,
) -> Optimized:
    """Tunes the policy against the reward model."""
    optimized = ppo_optimize(
        prompts=prompts,
        reward_model=reward_model,
        model=large_model_reference,
        policy_digest=policy_digest,
        train_steps=reinforcement_learning_train_steps,
        batch_size=reinforcement_learning_batch_size,
        learning_rate=reinforcement_learning_learning_rate,
        samples_per_prompt=ppo_samples_per_prompt,
        ppo_epochs=ppo_epochs,
        ppo_minibatches=ppo_minibatches,
        kl_coeff=kl_coeff,
        missing_eos_penalty=missing_eos_penalty,
        lora_rank=lora_rank,
        ppo_options=ppo_options,
        reward_weights=reward_weights,
        encoder=encoder_reference,
        encoder_digest=encoder_digest,
        classifiers_digest=classifiers_digest,
        monitors=monitors,
        eval_steps=ppo_eval_steps,
        sampling_temperature=sampling_temperature,
        target_sequence_length=target_sequence_length,
        seed=seed,
        checkpoint_root=checkpoint_root,
        code_version=code_version,
    ).set_display_name("Optimize policy (PPO)")
    return Optimized(policy=optimized.outputs["policy"], training_log=optimized.outputs["training_log"])


@dsl.pipeline(name="evaluate", display_name="Evaluate")
def evaluate(
    eval_prompts: Input[Dataset],
    pairs: Input[Dataset],
    policy: Input[Model],
    reward_model: Input[Model],
    training_log: Input[Dataset],
    large_model_reference: str,
    policy_digest: str,
    encoder_reference: str,
    encoder_digest: str,
    label_weights: dict[str, float],
    monitors: list[str],
    target_sequence_length: int,
    eval_max_prompts: int,
    eval_temperature: float,
    min_win_rate: float,
    max_kl: float,
    seed: int,
    code_version: str,
) -> Evaluated:
    """Compares the tuned policy with the base on unseen prompts, and decides about promotion."""
    evaluated = eval_inference(
        eval_prompts=eval_prompts,
        preferences=pairs,
        policy=policy,
        reward_model=reward_model,
        training_log=training_log,
        base_model=large_model_reference,
        policy_digest=policy_digest,
        encoder=encoder_reference,
        encoder_digest=encoder_digest,
        label_weights=label_weights,
        monitors=monitors,
        target_sequence_length=target_sequence_length,
        batch_size=defaults.GENERATION_BATCH_SIZE,
        max_prompts=eval_max_prompts,
        temperature=eval_temperature,
        seed=seed,
        code_version=code_version,
    ).set_display_name("Evaluate on unseen prompts")
    promotion = promote(
        win_rate_low=evaluated.outputs["win_rate_low"],
        kl=evaluated.outputs["kl"],
        min_win_rate=min_win_rate,
        max_kl=max_kl,
        code_version=code_version,
    ).set_display_name("Decide promotion")
    return Evaluated(
        evaluations=evaluated.outputs["evaluations"],
        metrics=evaluated.outputs["metrics"],
        report=evaluated.outputs["report"],
        promoted=promotion.outputs["promoted"],
        reason=promotion.outputs["reason"],
    )
