"""eval-inference: the tuned policy answers the test prompts, and every judge compares it with the base."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def eval_inference(
    base_answers: Input[Dataset],
    pairs: Input[Dataset],
    policy: Input[Model],
    reward_model: Input[Model],
    base_model: str,
    policy_digest: str,
    encoder: str,
    encoder_digest: str,
    label_weights: dict[str, float],
    monitors: list[str],
    reward_weights: dict[str, float],
    min_score_gap: float,
    target_sequence_length: int,
    temperature: float,
    seed: int,
    code_version: str,
    evaluations: Output[Dataset],
    metrics: Output[Metrics],
) -> None:
    """Compares the tuned policy with the base on unseen prompts.

    Args:
        base_answers: Reply rows of the base model.
        pairs: Preference rows.
        policy: The tuned policy.
        reward_model: The reward model.
        base_model: The policy before tuning.
        policy_digest: Digest of its files; only in the cache key.
        encoder: The sentence encoder.
        encoder_digest: Digest of its files; only in the cache key.
        label_weights: Weight of each metric that makes labels.
        monitors: Metrics that are watched and never trained on.
        reward_weights: Weights of the parts of the reward.
        min_score_gap: Smallest score difference that counts as a preference.
        target_sequence_length: Longest answer of training in tokens; answers are compared up to twice that.
        temperature: Sampling temperature of training, at which the KL is measured.
        seed: Seed of sampling and of the intervals.
        code_version: Digest of this step's code; only in the cache key.
        evaluations: Folder of evaluations.jsonl (evaluation rows) and summary.json (all figures of the run).
        metrics: Win rates and means as flat numbers.
    """
    from pathlib import Path

    from preflow.evaluation.config import EvaluationConfig
    from preflow.evaluation.eval_inference import eval_inference
    from preflow.runtime import prepare_process

    config = EvaluationConfig.of(locals())
    prepare_process()
    summary = eval_inference(
        base_answers=Path(base_answers.path),
        pairs=Path(pairs.path),
        base_model=base_model,
        policy=Path(policy.path),
        reward_model=Path(reward_model.path),
        encoder=encoder,
        label_weights=label_weights,
        monitors=monitors,
        reward_weights=reward_weights,
        output=Path(evaluations.path),
        config=config,
    )
    evaluations.metadata.update(scalars(summary))
    metrics.metadata.update(scalars(summary, "eval"))
