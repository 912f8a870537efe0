"""train-reward-model: the pairs become a model that scores an answer."""

from kfp.dsl import ClassificationMetrics, Dataset, Input, Metrics, Model, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def train_reward_model(
    preferences: Input[Dataset],
    prompts: Input[Dataset],
    base_model: str,
    reward_base_digest: str,
    encoder: str,
    encoder_digest: str,
    train_steps: int,
    batch_size: int,
    learning_rate: float,
    prompt_sequence_length: int,
    target_sequence_length: int,
    seed: int,
    code_version: str,
    reward_model: Output[Model],
    metrics: Output[Metrics],
    curves: Output[ClassificationMetrics],
):
    """Trains the reward model on train pairs and measures it on validation pairs.

    Args:
        preferences: Preference rows.
        prompts: Prompt rows, for the zero point.
        base_model: What the reward model starts from.
        reward_base_digest: Digest of its files; only in the cache key.
        encoder: The sentence encoder of the similarity baseline.
        encoder_digest: Digest of its files; only in the cache key.
        train_steps: Optimizer steps.
        batch_size: Pairs per step.
        learning_rate: Peak learning rate.
        prompt_sequence_length: Longest prompt in tokens.
        target_sequence_length: Longest answer in tokens.
        seed: Seed of initialisation and order.
        code_version: Digest of the library's sources; only in the cache key.
        reward_model: The model; its metadata hold the whole summary.
        metrics: Accuracy and its baselines.
        curves: ROC curve and confusion matrix on validation pairs.
    """
    import math
    from pathlib import Path

    from preflow.reward import train_reward_model

    summary = train_reward_model(
        preferences=Path(preferences.path),
        prompts=Path(prompts.path),
        base_model=base_model,
        encoder=encoder,
        output=Path(reward_model.path),
        train_steps=train_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        max_length=prompt_sequence_length + target_sequence_length,
        seed=seed,
    )
    roc, confusion = summary.pop("roc"), summary.pop("confusion")
    reward_model.metadata.update(summary)
    metrics.metadata.update(scalars(summary, "reward_model"))
    # The first threshold of a ROC curve is often infinite, which JSON and the consoles cannot hold.
    points = [point for point in zip(roc["fpr"], roc["tpr"], roc["threshold"], strict=True) if math.isfinite(point[2])]
    if points:
        curves.log_roc_curve(*(list(column) for column in zip(*points, strict=True)))
    curves.log_confusion_matrix(["first is better", "second is better"], confusion)
