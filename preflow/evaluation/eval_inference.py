"""Compare a tuned policy with its base on unseen prompts."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from preflow.evaluation.answering import Reply, answer, kl_per_response
from preflow.evaluation.comparing import measures, win_rates
from preflow.evaluation.config import EvaluationConfig
from preflow.evaluation.judging import Panel
from preflow.evaluation.markdown import render_markdown
from preflow.evaluation.report import render_report
from preflow.evaluation.report_data import ReportData
from preflow.generation.prepacked_linear import pack_linear_layers
from preflow.models import load_causal_lm, load_encoder, load_tokenizer, model_digest
from preflow.reward.accuracy import judge_pairs
from preflow.reward.model import RewardModel, read_summary
from preflow.rows import Preference, Prompt, clean, read_records, read_rows, write_rows
from preflow.scoring.registry import METRICS, check_roles, remembering
from preflow.writing import refuse_other_files, write_text, written_beside

_KL_PROMPTS = 64  # enough, as whole distributions have little variance; and they are costly
_ACCURACIES = ("accuracy", "accuracy_low", "accuracy_high", "baseline_longer", "baseline_similarity")
ValueT = TypeVar("ValueT")


def eval_inference(
    *,
    eval_prompts: Path,
    pairs: Path,
    base_model: str,
    policy: Path,
    reward_model: Path,
    encoder: str,
    label_weights: Mapping[str, float],
    monitors: Sequence[str],
    training_log: Path,
    evaluations_out: Path,
    report_out: Path,
    markdown_out: Path,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """Base and tuned model answer the evaluation prompts, in up to twice the training length, and are compared.

    Args:
        eval_prompts: File of prompt rows that nothing was trained on.
        pairs: File of preference rows; the reward model is also measured on those of test prompts.
        base_model: Reference of the model that was tuned.
        policy: Folder of the tuned policy.
        reward_model: Folder of the reward model; its summary.json goes into summary and report.
        encoder: Reference of the sentence encoder.
        label_weights: Weights of the label score; empty in a run without automated labels.
        monitors: Metrics that nothing was trained on.
        training_log: File of training log rows, for the report.
        evaluations_out: Folder to write: evaluation rows in evaluations.jsonl, the returned summary in summary.json.
        report_out: HTML file to write.
        markdown_out: Markdown file to write.
        config: Settings.

    Returns:
        All figures of the run: win rates by judge with 95 % intervals, those of the leading judge (label score, or
        reward model if there are no labels) on top, KL in nats per response, the measures of both models, and the
        reward model's accuracy. A figure that the run does not have is null.

    Raises:
        PreflowError: The input is invalid, or a metric is unknown or has two roles.
    """
    check_roles(label_weights, monitors)
    if evaluations_out.is_dir():  # what cannot be replaced at the end is refused before the work
        refuse_other_files(evaluations_out, {"evaluations.jsonl", "summary.json"})
    prompts = sorted(read_rows(eval_prompts, Prompt), key=lambda row: row.prompt_id)[: config.max_prompts or None]
    replies, kl = _answer(base_model, str(policy), prompts, config)
    panel = Panel(label_weights, monitors, RewardModel.load(reward_model), remembering(load_encoder(encoder)))
    rows = panel.judge(prompts, replies)
    data = ReportData(
        title="preflow evaluation",
        base_model=base_model,
        policy_digest=model_digest(str(policy)),
        max_tokens=config.max_tokens,
        parameters={
            "label_weights": dict(label_weights),
            "monitors": list(monitors),
            **config.model_dump(include={"temperature", "seed"}),
        },
        evaluations=rows,
        win_rates=win_rates(rows, config.seed),
        judge_roles=panel.roles,
        base=measures(rows, "base"),
        tuned=measures(rows, "tuned"),
        kl=kl,
        reward_summary=read_summary(reward_model),
        training_log=[record for _, record in read_records(training_log)],
        definitions={name: metric.description for name, metric in METRICS.items()},
    )
    on_test = _test_accuracy(panel.reward_model, read_rows(pairs, Preference), encoder, config.seed)
    summary: dict[str, Any] = clean({**_summary(data), "reward_model_test": on_test})
    with written_beside(evaluations_out) as folder:
        folder.mkdir()
        write_rows(folder / "evaluations.jsonl", rows)
        (folder / "summary.json").write_text(json.dumps(summary, indent=2, allow_nan=False))
    write_text(report_out, render_report(data))
    write_text(markdown_out, render_markdown(data))
    return summary


def _answer(
    base_model: str, policy: str, prompts: Sequence[Prompt], config: EvaluationConfig
) -> tuple[dict[str, list[Reply]], float]:
    """The answers of both models, and the mean KL of the first prompts; the models are released afterwards."""
    tokenizer, base, tuned = load_tokenizer(base_model), load_causal_lm(base_model), load_causal_lm(policy)
    for model in (base, tuned):
        pack_linear_layers(model)
    replies = {
        "base": answer("answers of the base model", base, tokenizer, prompts, config),
        "tuned": answer("answers of the tuned model", tuned, tokenizer, prompts, config),
    }
    return replies, float(np.mean(kl_per_response(tuned, base, tokenizer, prompts[:_KL_PROMPTS], config)))


def _summary(data: ReportData) -> dict[str, Any]:
    """The figures of a report, in the order in which they should be shown."""
    rates = {judge: dataclasses.asdict(rate) for judge, rate in data.win_rates.items()}
    leading = rates.get(data.headline_judge or "", {})
    return {
        "prompts": len(data.evaluations),
        "win_rate": leading.get("win_rate"),
        "win_rate_low": leading.get("low"),
        "win_rate_high": leading.get("high"),
        "win_rates": _ordered(rates),
        "kl": data.kl,
        "base": _ordered(data.base),
        "tuned": _ordered(data.tuned),
        **{
            name if name.startswith("baseline") else f"reward_model_{name}": data.reward_summary.get(name)
            for name in _ACCURACIES
        },
    }


def _ordered(values: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """A map by name, with the label scores first."""
    return dict(sorted(values.items(), key=lambda item: (not item[0].startswith("label_score"), item[0])))


def _test_accuracy(model: RewardModel, pairs: Sequence[Preference], encoder: str, seed: int) -> dict[str, float] | None:
    """The reward model's accuracy on pairs of test prompts; None if there are none."""
    on_test = [row for row in pairs if row.split == "test"]
    if not on_test:
        return None
    found = judge_pairs(model, on_test, encoder, seed)
    return {"pairs": float(len(on_test)), **{name: found[name] for name in _ACCURACIES}}
