"""base-inference: the base model answers the evaluation prompts at every temperature."""

from kfp.dsl import Dataset, Input, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def base_inference(
    prompts: Input[Dataset],
    eval_prompts: Input[Dataset],
    model: str,
    policy_digest: str,
    target_sequence_length: int,
    max_prompts: int,
    temperatures: list[float],
    seed: int,
    code_version: str,
    base_answers: Output[Dataset],
) -> None:
    """Samples what the tuned policy is compared with; it depends on no policy, so it is sampled once.

    Args:
        prompts: Prompt rows; those of the validation split choose the base model's best temperature.
        eval_prompts: Prompt rows of the test split.
        model: The policy before tuning.
        policy_digest: Digest of its files; only in the cache key.
        target_sequence_length: Longest answer of training in tokens; answers are compared up to twice that.
        max_prompts: Largest number of test prompts that are answered.
        temperatures: Sampling temperatures to judge at; 0 is greedy.
        seed: Seed of the sampling.
        code_version: Digest of this step's code; only in the cache key.
        base_answers: Reply rows.
    """
    from pathlib import Path

    from preflow.evaluation.base_config import BaseInferenceConfig
    from preflow.evaluation.base_inference import base_inference
    from preflow.runtime import prepare_process

    config = BaseInferenceConfig.of(locals())
    prepare_process()
    summary = base_inference(
        prompts=Path(prompts.path),
        eval_prompts=Path(eval_prompts.path),
        model=model,
        output=Path(base_answers.path),
        config=config,
    )
    base_answers.metadata.update(scalars(summary))
