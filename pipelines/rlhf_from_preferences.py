"""The three classic stages on given data: reward model, PPO, inference."""

from typing import Any

from kfp import dsl

from components.record_run import record_run
from components.validate_inputs import validate_inputs
from pipelines import defaults
from pipelines.stages import evaluate, learn_given_preferences, optimize


@dsl.pipeline(
    name="rlhf-from-preferences",
    description="Tunes a language model on given preferences: reward model, PPO, inference.",
)
def rlhf_from_preferences(
    prompt_dataset: str = defaults.PROMPT_DATASET,
    preference_dataset: str = defaults.PREFERENCE_DATASET,
    eval_dataset: str = "",
    large_model_reference: str = defaults.LARGE_MODEL,
    reward_model_reference: str = defaults.REWARD_MODEL,
    encoder_reference: str = defaults.ENCODER,
    model_display_name: str = "",
    instruction: str = "",
    prompt_sequence_length: int = defaults.PROMPT_SEQUENCE_LENGTH,
    target_sequence_length: int = defaults.TARGET_SEQUENCE_LENGTH,
    sampling_temperature: float = defaults.SAMPLING_TEMPERATURE,
    monitors: list[str] = defaults.MONITORS_WITHOUT_LABELS,
    reward_model_train_steps: int = defaults.REWARD_MODEL_TRAIN_STEPS,
    reward_model_batch_size: int = defaults.REWARD_MODEL_BATCH_SIZE,
    reward_model_learning_rate: float = defaults.REWARD_MODEL_LEARNING_RATE,
    reinforcement_learning_train_steps: int = defaults.REINFORCEMENT_LEARNING_TRAIN_STEPS,
    reinforcement_learning_batch_size: int = defaults.REINFORCEMENT_LEARNING_BATCH_SIZE,
    reinforcement_learning_learning_rate: float = defaults.REINFORCEMENT_LEARNING_LEARNING_RATE,
    ppo_samples_per_prompt: int = defaults.PPO_SAMPLES_PER_PROMPT,
    ppo_epochs: int = defaults.PPO_EPOCHS,
    ppo_minibatches: int = defaults.PPO_MINIBATCHES,
    kl_coeff: float = defaults.KL_COEFF,
    missing_eos_penalty: float = defaults.MISSING_EOS_PENALTY,
    lora_rank: int = defaults.LORA_RANK,
    ppo_eval_steps: int = defaults.PPO_EVAL_STEPS,
    ppo_options: dict[str, Any] = defaults.PPO_OPTIONS,
    reward_weights: dict[str, float] = defaults.REWARD_WEIGHTS,
    eval_max_prompts: int = defaults.EVAL_MAX_PROMPTS,
    eval_temperature: float = defaults.EVAL_TEMPERATURE,
    min_win_rate: float = defaults.MIN_WIN_RATE,
    max_kl: float = defaults.MAX_KL,
    seed: int = defaults.SEED,
    database: str = "",
    code_version: str = "",
    digests: dict[str, str] = defaults.UNRESOLVED,
    run_id: str = "",
    checkpoint_root: str = "",
    parameters: dict[str, Any] = defaults.UNRESOLVED,
):
    """Tunes a language model on given preferences: reward model, PPO, inference.

    Args:
        prompt_dataset: prompts to train on (path or URI of JSON Lines, or packaged:prompts)
        preference_dataset: preferences to learn (path or URI, or packaged:example-feedback)
        eval_dataset: prompts to judge with; '' for the held-out part of the prompts
        large_model_reference: policy to tune (SmolLM2-135M-Instruct, a Hugging Face id or a folder)
        reward_model_reference: what the reward model starts from
        encoder_reference: sentence encoder of scorers and baselines
        model_display_name: name of the tuned model, kept on the run's record
        instruction: system turn for prompts that bring none
        prompt_sequence_length: longest prompt in tokens
        target_sequence_length: longest answer in tokens
        sampling_temperature: temperature of PPO episodes
        monitors: metrics that are watched; nothing is trained on a metric here
        reward_model_train_steps: optimizer steps of the reward model
        reward_model_batch_size: pairs per step
        reward_model_learning_rate: peak learning rate of the reward model
        reinforcement_learning_train_steps: PPO updates
        reinforcement_learning_batch_size: episodes per update
        reinforcement_learning_learning_rate: peak learning rate of PPO
        ppo_samples_per_prompt: episodes of the same prompt; must divide the episodes per update
        ppo_epochs: passes over the episodes of an update
        ppo_minibatches: minibatches per pass
        kl_coeff: weight of the divergence from the base in the reward
        missing_eos_penalty: taken off the score of answers that hit the length limit
        lora_rank: rank of the policy's adapter; 0 trains the weights themselves
        ppo_eval_steps: updates between two looks at the validation prompts; 0 for none
        ppo_options: further settings of PPO by name, such as {"lora_layers": 0, "kl_target": 6}
        reward_weights: weights of the reward: reward_model, classifier:MODEL, scorer:METRIC or function:MODULE:NAME
        eval_max_prompts: test prompts that are answered at most
        eval_temperature: temperature of the evaluation's answers; 0 is greedy
        min_win_rate: what the lower end of the win rate must exceed for promotion
        max_kl: largest divergence in nats per answer for promotion
        seed: seed of everything random
        database: reference of the database; '' for DATABASE_URL or the embedded server
        code_version: resolved by the launcher
        digests: resolved by the launcher
        run_id: resolved by the launcher
        checkpoint_root: resolved by the launcher
        parameters: the ones above, resolved by the launcher for the record
    """
    valid = validate_inputs(
        prompt_dataset=prompt_dataset,
        preference_dataset=preference_dataset,
        eval_dataset=eval_dataset,
        instruction=instruction,
        large_model_reference=large_model_reference,
        reward_model_reference=reward_model_reference,
        encoder_reference=encoder_reference,
        prompt_sequence_length=prompt_sequence_length,
        digests=digests,
        code_version=code_version,
    ).set_display_name("Validate inputs")
    learned = learn_given_preferences(
        prompts=valid.outputs["prompts"],
        eval_prompts=valid.outputs["eval_prompts"],
        preferences=valid.outputs["preferences"],
        reward_model_reference=reward_model_reference,
        reward_base_digest=valid.outputs["reward_base_digest"],
        encoder_reference=encoder_reference,
        encoder_digest=valid.outputs["encoder_digest"],
        reward_model_train_steps=reward_model_train_steps,
        reward_model_batch_size=reward_model_batch_size,
        reward_model_learning_rate=reward_model_learning_rate,
        prompt_sequence_length=prompt_sequence_length,
        target_sequence_length=target_sequence_length,
        seed=seed,
        code_version=code_version,
    ).set_display_name("Learn preferences")
    optimized = optimize(
        prompts=valid.outputs["prompts"],
        reward_model=learned.outputs["reward_model"],
        large_model_reference=large_model_reference,
        policy_digest=valid.outputs["policy_digest"],
        reinforcement_learning_train_steps=reinforcement_learning_train_steps,
        reinforcement_learning_batch_size=reinforcement_learning_batch_size,
        reinforcement_learning_learning_rate=reinforcement_learning_learning_rate,
        ppo_samples_per_prompt=ppo_samples_per_prompt,
        ppo_epochs=ppo_epochs,
        ppo_minibatches=ppo_minibatches,
        kl_coeff=kl_coeff,
        missing_eos_penalty=missing_eos_penalty,
        lora_rank=lora_rank,
        ppo_options=ppo_options,
        reward_weights=reward_weights,
        encoder_reference=encoder_reference,
        encoder_digest=valid.outputs["encoder_digest"],
        classifiers_digest=valid.outputs["classifiers_digest"],
        monitors=monitors,
        ppo_eval_steps=ppo_eval_steps,
        sampling_temperature=sampling_temperature,
        target_sequence_length=target_sequence_length,
        seed=seed,
        checkpoint_root=checkpoint_root,
        code_version=code_version,
    ).set_display_name("Optimize")
    evaluated = evaluate(
        eval_prompts=valid.outputs["eval_prompts"],
        pairs=learned.outputs["pairs"],
        policy=optimized.outputs["policy"],
        reward_model=learned.outputs["reward_model"],
        training_log=optimized.outputs["training_log"],
        large_model_reference=large_model_reference,
        policy_digest=valid.outputs["policy_digest"],
        encoder_reference=encoder_reference,
        encoder_digest=valid.outputs["encoder_digest"],
        label_weights={},
        monitors=monitors,
        target_sequence_length=target_sequence_length,
        eval_max_prompts=eval_max_prompts,
        eval_temperature=eval_temperature,
        min_win_rate=min_win_rate,
        max_kl=max_kl,
        seed=seed,
        code_version=code_version,
    ).set_display_name("Evaluate")
    record_run(
        run_id=run_id,
        job_name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        pipeline="rlhf-from-preferences",
        parameters=parameters,
        evaluations=evaluated.outputs["evaluations"],
        metrics=evaluated.outputs["metrics"],
        report=evaluated.outputs["report"],
        policy=optimized.outputs["policy"],
        promoted=evaluated.outputs["promoted"],
        reason=evaluated.outputs["reason"],
        feedback_watermark="",
        database=database,
        code_version=code_version,
    ).set_display_name("Record run").set_caching_options(False)
