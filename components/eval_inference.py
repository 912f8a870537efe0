"""eval-inference: base and tuned policy answer the test prompts, and every judge compares them."""

from typing import NamedTuple

from kfp.dsl import HTML, Dataset, Input, Markdown, Metrics, Model, Output, component

from components.image import IMAGE
from components.scalars import scalars


@component(base_image=IMAGE, install_kfp_package=False, additional_funcs=[scalars])
def eval_inference(
    eval_prompts: Input[Dataset],
    pairs: Input[Dataset],
    policy: Input[Model],
    reward_model: Input[Model],
    training_log: Input[Dataset],
    base_model: str,
    policy_digest: str,
    encoder: str,
    encoder_digest: str,
    label_weights: dict[str, float],
    monitors: list[str],
    target_sequence_length: int,
    max_prompts: int,
    temperature: float,
    seed: int,
    code_version: str,
    evaluations: Output[Dataset],
    metrics: Output[Metrics],
    report: Output[HTML],
    markdown: Output[Markdown],
) -> NamedTuple("Verdict", [("win_rate_low", float), ("kl", float)]):
    """Compares the tuned policy with the base on unseen prompts and writes the report.

    Args:
        eval_prompts: Prompt rows of the test split.
        pairs: Preference rows.
        policy: The tuned policy.
        reward_model: The reward model; its summary.json goes into the report.
        training_log: Training log rows.
        base_model: The policy before tuning.
        policy_digest: Digest of its files; only in the cache key.
        encoder: The sentence encoder.
        encoder_digest: Digest of its files; only in the cache key.
        label_weights: Weight of each metric that makes labels.
        monitors: Metrics that are watched and never trained on.
        target_sequence_length: Longest answer in tokens.
        max_prompts: Largest number of test prompts that are answered.
        temperature: Sampling temperature; 0 is greedy.
        seed: Seed of sampling and of the intervals.
        code_version: Digest of this step's code; only in the cache key.
        evaluations: Folder of evaluations.jsonl (evaluation rows) and summary.json (all figures of the run).
        metrics: Win rates and means as flat numbers.
        report: The report as one HTML page.
        markdown: The report's short form.

    Returns:
        What promote decides on.
    """
    from pathlib import Path

    from preflow.evaluation.config import EvaluationConfig
    from preflow.evaluation.eval_inference import eval_inference
    from preflow.runtime import prepare_process

    config = EvaluationConfig.of(locals())
    prepare_process()
    summary = eval_inference(
        eval_prompts=Path(eval_prompts.path),
        pairs=Path(pairs.path),
        base_model=base_model,
        policy=Path(policy.path),
        reward_model=Path(reward_model.path),
        encoder=encoder,
        label_weights=label_weights,
        monitors=monitors,
        training_log=Path(training_log.path),
        evaluations_out=Path(evaluations.path),
        report_out=Path(report.path),
        markdown_out=Path(markdown.path),
        config=config,
    )
    evaluations.metadata.update(scalars(summary))
    metrics.metadata.update(scalars(summary, "eval"))
    return summary["win_rate_low"], summary["kl"]
