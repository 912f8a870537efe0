"""train-reward-model: the pairs become a model that scores an answer."""

from kfp.dsl import ClassificationMetrics, Dataset, Input, Metrics, Model, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def train_reward_model(
    pairs: Input[Dataset],
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
) -> None:
    """Trains the reward model on train pairs and measures it on validation pairs.

    Args:
        pairs: Preference rows.
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
        code_version: Digest of this step's code; only in the cache key.
        reward_model: The model, with its summary.json.
        metrics: Accuracy and its baselines.
        curves: ROC curve and confusion matrix on validation pairs.
    """
    from pathlib import Path

    from preflow.reward.config import RewardModelConfig
    from preflow.reward.train import train_reward_model
    from preflow.runtime import prepare_process

    config = RewardModelConfig.of(locals())
    prepare_process()
    summary = train_reward_model(
        pairs=Path(pairs.path),
        prompts=Path(prompts.path),
        base_model=base_model,
        encoder=encoder,
        output=Path(reward_model.path),
        config=config,
    )
    roc, confusion = summary.pop("roc"), summary.pop("confusion")
    reward_model.metadata.update(scalars(summary))
    metrics.metadata.update(scalars(summary, "reward_model"))
    if roc["fpr"]:
        curves.log_roc_curve(roc["fpr"], roc["tpr"], roc["threshold"])
    curves.log_confusion_matrix(["first is better", "second is better"], confusion)
