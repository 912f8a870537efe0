"""validate-inputs: reads everything a run was given, before anything expensive starts."""

from typing import NamedTuple

from kfp.dsl import Dataset, Output, component

from components.image import IMAGE


@component(base_image=IMAGE, install_kfp_package=False)
def validate_inputs(
    prompt_dataset: str,
    preference_dataset: str,
    eval_dataset: str,
    instruction: str,
    large_model_reference: str,
    reward_model_reference: str,
    encoder_reference: str,
    prompt_sequence_length: int,
    digests: dict[str, str],
    code_version: str,
    prompts: Output[Dataset],
    eval_prompts: Output[Dataset],
    preferences: Output[Dataset],
) -> NamedTuple(
    "Digests",
    [
        ("policy_digest", str),
        ("reward_base_digest", str),
        ("encoder_digest", str),
        ("classifiers_digest", str),
    ],
):
    """Checks the datasets and models of a run and writes them as rows of the one form that later steps read.

    Args:
        prompt_dataset: Prompts to train on.
        preference_dataset: Preferences from outside, or '' for none.
        eval_dataset: Prompts or preferences to judge with, or '' for the held-out prompts.
        instruction: System turn for prompts that bring none.
        large_model_reference: The policy to tune.
        reward_model_reference: What the reward model starts from.
        encoder_reference: The sentence encoder of scorers and baselines.
        prompt_sequence_length: Longest prompt in tokens.
        digests: Digests of input files and model folders by parameter name; changed contents miss the cache.
        code_version: Digest of the library's sources; only in the cache key.
        prompts: Prompt rows.
        eval_prompts: Prompt rows of the test split.
        preferences: Preference rows; an empty file when there are none.

    Returns:
        The digests of the models, for the cache keys of the steps that load them.
    """
    from pathlib import Path

    from preflow.inputs import validate_inputs

    Path(preferences.path).touch()
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
        preferences_out=Path(preferences.path),
    )
    prompts.metadata.update(counts)
    names = ("large_model_reference", "reward_model_reference", "encoder_reference", "reward_weights")
    return tuple(digests.get(name, "") for name in names)
