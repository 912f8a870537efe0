"""Compare a tuned policy with its base on prompts that nothing was trained on."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from preflow.chat import last_user_turn
from preflow.evaluation.answering import Reply, answer, kl_per_response
from preflow.evaluation.config import EvaluationConfig
from preflow.evaluation.markdown import render_markdown
from preflow.evaluation.report import render_report
from preflow.evaluation.report_data import JudgeRole, ReportData
from preflow.evaluation.text_metrics import bleu, distinct_n, rouge_l, words
from preflow.evaluation.win_rates import WinRate, win_rate
from preflow.generation.packing import pack_linear_layers
from preflow.models import load_causal_lm, load_encoder, load_tokenizer, model_digest
from preflow.reward.accuracy import judge_pairs
from preflow.reward.model import RewardModel
from preflow.rows import Answer, Evaluation, Preference, Prompt, read_records, read_rows, write_rows
from preflow.scoring.label import label_score
from preflow.scoring.metric import Embed, ScoredText
from preflow.scoring.registry import METRICS, check_roles, remembering, score_texts
from preflow.writing import written_beside

_LABEL, _REWARD = "label_score", "reward_model"
_ENDED = "ended_properly"
_KL_PROMPTS = 64  # whole distributions have little variance, and the vocabulary makes them costly
_WITHOUT_ENDED = f"{_LABEL}_without_{_ENDED}"


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
    reward_summary: Mapping[str, Any],
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
        reward_model: Folder of the reward model.
        encoder: Reference of the sentence encoder.
        label_weights: Weights of the label score; empty in a run without automated labels.
        monitors: Metrics that nothing was trained on.
        training_log: File of training log rows, for the report.
        reward_summary: What `train_reward_model` returned, for the report.
        evaluations_out: File of evaluation rows to write.
        report_out: HTML file to write.
        markdown_out: Markdown file to write.
        config: Settings.

    Returns:
        Win rates by judge with 95 % intervals, those of the leading judge (label score, or reward model where there
        are no labels) on top, KL in nats per response, and the metrics of both models.
    """
    check_roles(label_weights, monitors)
    prompts = sorted(read_rows(eval_prompts, Prompt), key=lambda row: row.prompt_id)[: config.max_prompts or None]
    tokenizer = load_tokenizer(base_model)
    base, tuned = load_causal_lm(base_model), load_causal_lm(str(policy))
    for model in (base, tuned):
        pack_linear_layers(model)
    settings: dict[str, Any] = {
        "max_tokens": 2 * config.target_sequence_length,
        "temperature": config.temperature,
        "batch_size": config.batch_size,
        "seed": config.seed,
    }
    replies = {
        "base": answer("answers of the base model", base, tokenizer, prompts, **settings),
        "tuned": answer("answers of the tuned model", tuned, tokenizer, prompts, **settings),
    }
    kl = float(
        np.mean(
            kl_per_response(
                tuned,
                base,
                tokenizer,
                prompts[:_KL_PROMPTS],
                max_tokens=config.target_sequence_length,
                batch_size=config.batch_size,
                seed=config.seed,
            )
        )
    )
    judge = RewardModel.load(reward_model)
    embed = remembering(load_encoder(encoder))
    scores = {name: _judge(prompts, given, label_weights, monitors, judge, embed) for name, given in replies.items()}
    rates = _win_rates(scores, replies, config.seed)
    measures = {name: _measures(prompts, replies[name], scores[name]) for name in replies}
    rows = _rows(prompts, replies, scores)
    test_pairs = [row for row in read_rows(pairs, Preference) if row.split == "test"]
    data = ReportData(
        title="preflow evaluation",
        base_model=base_model,
        policy_digest=model_digest(str(policy)),
        target_sequence_length=2 * config.target_sequence_length,
        parameters={
            "label_weights": dict(label_weights),
            "monitors": list(monitors),
            "temperature": config.temperature,
            "seed": config.seed,
        },
        evaluations=rows,
        win_rates=rates,
        judge_roles=_roles(label_weights, monitors),
        base=measures["base"],
        tuned=measures["tuned"],
        kl=kl,
        reward_summary=reward_summary,
        training_log=[record for _, record in read_records(training_log)],
        definitions={name: metric.description for name, metric in METRICS.items()},
    )
    write_rows(evaluations_out, rows)
    _write(report_out, render_report(data))
    _write(markdown_out, render_markdown(data))
    leading = rates[_LABEL if label_weights else _REWARD]
    return {
        "prompts": len(prompts),
        "win_rate": leading.win_rate,
        "win_rate_low": leading.low,
        "win_rate_high": leading.high,
        "win_rates": {name: dataclasses.asdict(rate) for name, rate in rates.items()},
        "kl": kl,
        "base": measures["base"],
        "tuned": measures["tuned"],
        "reward_model_test": _test_accuracy(judge, test_pairs, encoder, config.seed),
    }


def _judge(
    prompts: Sequence[Prompt],
    replies: Sequence[Reply],
    label_weights: Mapping[str, float],
    monitors: Sequence[str],
    judge: RewardModel,
    embed: Embed,
) -> dict[str, list[float | None]]:
    """Every judge's score of one model's answers."""
    texts = [
        ScoredText(last_user_turn(row.prompt), reply.response, reply.stopped, row.reference)
        for row, reply in zip(prompts, replies, strict=True)
    ]
    single = {
        name: [score.value for score in column]
        for name, column in score_texts(texts, [*label_weights, *monitors], embed).items()
    }
    scores: dict[str, list[float | None]] = {}
    without = {name: weight for name, weight in label_weights.items() if name != _ENDED}
    for name, weights in ((_LABEL, label_weights), (_WITHOUT_ENDED, without)):
        if weights and (name == _LABEL or weights != dict(label_weights)):
            scores[name] = [
                label_score({key: single[key][row] for key in weights}, weights) for row in range(len(prompts))
            ]
    scores |= single
    scores[_REWARD] = judge.score([row.prompt for row in prompts], [reply.response for reply in replies]).tolist()
    return scores


def _win_rates(
    scores: Mapping[str, Mapping[str, Sequence[float | None]]], replies: Mapping[str, Sequence[Reply]], seed: int
) -> dict[str, WinRate]:
    lengths = {name: [reply.tokens for reply in given] for name, given in replies.items()}
    rates = {
        judge: win_rate(scores["tuned"][judge], scores["base"][judge], lengths["tuned"], lengths["base"], seed=seed)
        for judge in scores["tuned"]
    }
    return {judge: rate for judge, rate in rates.items() if rate is not None}


def _roles(label_weights: Mapping[str, float], monitors: Sequence[str]) -> dict[str, JudgeRole]:
    roles: dict[str, JudgeRole] = {}
    if label_weights:
        roles[_LABEL] = "label score"
        if _ENDED in label_weights and len(label_weights) > 1:
            roles[_WITHOUT_ENDED] = "label score"
    return {
        **roles,
        **{name: "label metric" for name in label_weights},
        **{name: "monitor" for name in monitors},
        _REWARD: "reward model",
    }


def _measures(
    prompts: Sequence[Prompt], replies: Sequence[Reply], scores: Mapping[str, Sequence[float | None]]
) -> dict[str, float | None]:
    texts = [reply.response for reply in replies]
    references = [row.reference for row in prompts]
    known = {name: [value for value in column if value is not None] for name, column in scores.items()}
    return {
        "response_tokens": float(np.mean([reply.tokens for reply in replies])),
        "eos_rate": float(np.mean([reply.stopped for reply in replies])),
        "distinct_1": distinct_n([words(text) for text in texts], 1),
        "distinct_2": distinct_n([words(text) for text in texts], 2),
        "rouge_l": rouge_l(texts, references),
        "bleu": bleu(texts, references),
        **{name: float(np.mean(values)) if values else None for name, values in known.items()},
    }


def _rows(
    prompts: Sequence[Prompt],
    replies: Mapping[str, Sequence[Reply]],
    scores: Mapping[str, Mapping[str, Sequence[float | None]]],
) -> list[Evaluation]:
    return [
        Evaluation(
            prompt_id=prompt.prompt_id,
            prompt=prompt.prompt,
            reference=prompt.reference,
            category=prompt.category,
            answers={
                name: Answer(
                    response=given[row].response,
                    tokens=given[row].tokens,
                    finish_reason="stop" if given[row].stopped else "length",
                    scores={judge: column[row] for judge, column in scores[name].items()},
                )
                for name, given in replies.items()
            },
        )
        for row, prompt in enumerate(prompts)
    ]


def _test_accuracy(judge: RewardModel, pairs: Sequence[Preference], encoder: str, seed: int) -> dict[str, float] | None:
    """The reward model's accuracy on test pairs, where the preferences hold any."""
    if not pairs:
        return None
    found = judge_pairs(judge, pairs, encoder, seed)
    kept = ("accuracy", "accuracy_low", "accuracy_high", "baseline_longer", "baseline_similarity")
    return {"pairs": float(len(pairs)), **{name: found[name] for name in kept}}


def _write(path: Path, text: str) -> None:
    with written_beside(path) as beside:
        beside.write_text(text, encoding="utf-8")
