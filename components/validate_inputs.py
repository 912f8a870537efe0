"""validate-inputs: reads everything a run was given, before anything expensive starts."""

from kfp.dsl import Dataset, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def validate_inputs(
    prompt_dataset: str,
    preference_dataset: str,
    eval_dataset: str,
    datasets_digest: str,
    instruction: str,
    large_model_reference: str,
    policy_digest: str,
    reward_model_reference: str,
    reward_base_digest: str,
    encoder_reference: str,
    encoder_digest: str,
    prompt_sequence_length: int,
    code_version: str,
    prompts: Output[Dataset],
    eval_prompts: Output[Dataset],
    given_feedback: Output[Dataset],
) -> None:
    """Checks the datasets and models of a run and writes the datasets as the rows that later steps read.

    Args:
        prompt_dataset: Prompts to train on.
        preference_dataset: Given preferences, or '' for none.
        eval_dataset: Prompts to judge with, or '' for the packaged test prompts with the packaged prompts, and for the
            held-out quarter of any others.
        datasets_digest: Digest of the contents of the three; only in the cache key.
        instruction: System turn for prompts without one.
        large_model_reference: The policy to tune.
        policy_digest: Digest of its files; only in the cache key.
        reward_model_reference: What the reward model starts from.
        reward_base_digest: Digest of its files; only in the cache key.
        encoder_reference: The sentence encoder of scorers and baselines.
        encoder_digest: Digest of its files; only in the cache key.
        prompt_sequence_length: Longest prompt in tokens.
        code_version: Digest of this step's code; only in the cache key.
        prompts: Prompt rows of the train and validation splits.
        eval_prompts: Prompt rows of the test split.
        given_feedback: Feedback rows of the preference dataset; an empty file without one.
    """
    from pathlib import Path

    from preflow.inputs import validate_inputs

    counts = validate_inputs(
        prompt_dataset=prompt_dataset,
        preference_dataset=preference_dataset,
        eval_dataset=eval_dataset,
        instruction=instruction,
        large_model_reference=large_model_reference,
        reward_model_reference=reward_model_reference,
        encoder_reference=encoder_reference,
        prompt_sequence_length=prompt_sequence_length,
        prompts_out=Path(prompts.path),
        eval_prompts_out=Path(eval_prompts.path),
        given_feedback_out=Path(given_feedback.path),
    )
    prompts.metadata.update(scalars(counts))
