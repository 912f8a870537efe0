"""Compare a tuned policy with its base on unseen prompts."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from preflow.evaluation.answering import answer, kl_per_response
from preflow.evaluation.canary_check import canary_check, canary_wins
from preflow.evaluation.comparing import measures, win_rates
from preflow.evaluation.config import EvaluationConfig
from preflow.evaluation.judging import Panel, Scores, judged
from preflow.evaluation.leading import mean_scores, passed_over
from preflow.evaluation.names import temperature_key
from preflow.evaluation.reward_on_test import ACCURACIES, test_accuracy
from preflow.generation.prepacked_linear import pack_linear_layers
from preflow.intervals import bootstrap_interval
from preflow.models import load_causal_lm, load_encoder, load_tokenizer, model_digest
from preflow.reward.model import RewardModel, read_summary
from preflow.rows import Evaluation, Preference, Prompt, Reply, clean, read_rows, write_rows
from preflow.scoring.registry import METRICS, check_roles, remembering
from preflow.writing import refuse_other_files, written_beside

_KL_PROMPTS = 32  # enough, as whole distributions have little variance; and they are costly
_GREEDY = 0.0
_MODELS = ("base", "tuned")
ValueT = TypeVar("ValueT")
Replies = Mapping[float, Sequence[Reply]]
"""Answers by temperature, each in the order of the prompts."""


class _Answers(NamedTuple):
    """What both models answered to the test prompts.

    Attributes:
        base: The base model's answers by temperature; one of them is the temperature that is best for it.
        tuned: The tuned model's answers.
        kl: KL of the tuned from the base model, in nats per response, of the first prompts.
    """

    base: Replies
    tuned: Replies
    kl: list[float]


def eval_inference(
    *,
    base_answers: Path,
    pairs: Path,
    base_model: str,
    policy: Path,
    reward_model: Path,
    encoder: str,
    label_weights: Mapping[str, float],
    monitors: Sequence[str],
    reward_weights: Mapping[str, float],
    output: Path,
    config: EvaluationConfig,
) -> dict[str, Any]:
    """The tuned model answers the test prompts that the base model answered, and every judge compares them.

    The leading judge is the label score, or else the first monitor, that prefers no scripted answer to the references
    (see `canary_check`) and that PPO did not maximize.

    Args:
        base_answers: File of reply rows that `base_inference` wrote.
        pairs: File of preference rows; the reward model is also measured on those of test prompts.
        base_model: Reference of the model that was tuned.
        policy: Folder of the tuned policy.
        reward_model: Folder of the reward model.
        encoder: Reference of the sentence encoder.
        label_weights: Weights of the label score; empty in a run without automated labels.
        monitors: Metrics that nothing was trained on.
        reward_weights: Weights of the parts of the reward that PPO maximized.
        output: Folder to write: evaluation rows in evaluations.jsonl, the returned summary in summary.json.
        config: Settings.

    Returns:
        All figures of the run. `win_rate` with its interval is that of the leading judge, greedily; `win_rates` and
        `temperatures` hold those of every judge. `best_base` compares the greedy tuned model with the base model at the
        temperature at which the leading judge likes it best on validation prompts. `canaries` are the shares of
        references that scripted answers beat. `kl` is in nats per response at the temperature of training, `kl_high`
        the upper end of its 95 % interval. A figure that the run does not have is null.

    Raises:
        PreflowError: The input is invalid, or a metric is unknown or has two roles.
    """
    check_roles(label_weights, monitors)
    if output.is_dir():  # what cannot be replaced at the end is refused before the work
        refuse_other_files(output, {"evaluations.jsonl", "summary.json"})
    given = read_rows(base_answers, Reply)
    panel = Panel(
        label_weights, monitors, reward_weights, RewardModel.load(reward_model), remembering(load_encoder(encoder))
    )
    canaries = canary_check(panel)
    objections = passed_over(panel, canaries)
    lead = next((judge for judge in panel.candidates if judge not in objections), None)
    means = mean_scores(panel, lead, _by_temperature(given, "validation")) if lead else {}
    best = max(means, key=lambda temperature: (means[temperature], -temperature), default=None)
    answers = _answer(base_model, str(policy), _by_temperature(given, "test"), best, config)
    scores = {model: {at: panel.scores(rows) for at, rows in getattr(answers, model).items()} for model in _MODELS}
    rows = _evaluations(answers, scores, best)
    greedy = [row for row in rows if row.temperature == _GREEDY]
    rates = {
        temperature_key(at): _rates([row for row in rows if row.temperature == at], config.seed) for at in answers.tuned
    }
    leading = rates[temperature_key(_GREEDY)].get(lead or "", {})
    trained = read_summary(reward_model)
    summary: dict[str, Any] = {
        "prompts": len(greedy),
        "lead": lead,
        "passed_over": objections,
        "win_rate": leading.get("win_rate"),
        "win_rate_low": leading.get("low"),
        "win_rate_high": leading.get("high"),
        "win_rates": rates[temperature_key(_GREEDY)],
        "temperatures": rates,
        "best_base": _best_base(greedy, lead, best, config.seed),
        "base_by_temperature": {temperature_key(at): mean for at, mean in means.items()},
        "kl": float(np.mean(answers.kl)),
        "kl_high": bootstrap_interval(answers.kl, config.seed).high,
        "base": _ordered(measures(greedy, "base")),
        "tuned": _ordered(measures(greedy, "tuned")),
        **{name if name.startswith("baseline") else f"reward_model_{name}": trained.get(name) for name in ACCURACIES},
        "reward_model_test": test_accuracy(
            panel.reward_model,
            rows,
            read_rows(pairs, Preference),
            panel.embed,
            min_score_gap=config.min_score_gap,
            seed=config.seed,
        ),
        "canaries": canaries,
        "canary_wins": canary_wins(panel, answers.base[_GREEDY], scores["base"][_GREEDY]),
        "judges": panel.judges,
        "run": {
            "base_model": base_model,
            "policy_digest": model_digest(str(policy)),
            "max_tokens": config.max_tokens,
            "reward_model": trained,
            "definitions": {name: METRICS[name].description for name in [*label_weights, *monitors]},
            "parameters": {
                "label_weights": dict(label_weights),
                "monitors": list(monitors),
                "reward_weights": dict(reward_weights),
                **config.model_dump(include={"temperature", "seed"}),
            },
        },
    }
    summary = clean(summary)
    with written_beside(output) as folder:
        folder.mkdir()
        write_rows(folder / "evaluations.jsonl", rows)
        (folder / "summary.json").write_text(json.dumps(summary, indent=2, allow_nan=False))
    return summary


def _by_temperature(replies: Sequence[Reply], split: str) -> Replies:
    found: dict[float, list[Reply]] = {}
    for row in replies:
        if row.split == split:
            found.setdefault(row.temperature, []).append(row)
    return dict(sorted(found.items()))


def _answer(base_model: str, policy: str, base: Replies, best: float | None, config: EvaluationConfig) -> _Answers:
    """The tuned model's answers, those of the base that are missing, and the KL; the models are released afterwards."""
    prompts: Sequence[Prompt] = base[_GREEDY]
    tokenizer, base_lm, tuned_lm = load_tokenizer(base_model), load_causal_lm(base_model), load_causal_lm(policy)
    for model in (base_lm, tuned_lm):
        pack_linear_layers(model)
    tuned: Replies = answer("answers of the tuned model", tuned_lm, tokenizer, prompts, [*base], config)
    if best is not None and best not in base:
        base = {**base, **answer("answers of the base at its best", base_lm, tokenizer, prompts, [best], config)}
    kl = kl_per_response(tuned_lm, base_lm, tokenizer, prompts[:_KL_PROMPTS], config.temperature, config)
    return _Answers(base, tuned, kl)


def _evaluations(
    answers: _Answers, scores: Mapping[str, Mapping[float, Scores]], best: float | None
) -> list[Evaluation]:
    """A row for each test prompt and temperature; the greedy ones also hold the base's answer at its best."""
    rows = []
    for at, replies in answers.tuned.items():
        compared = {model: judged(getattr(answers, model)[at], scores[model][at]) for model in _MODELS}
        if at == _GREEDY and best is not None:
            compared["best_base"] = judged(answers.base[best], scores["base"][best])
        for number, row in enumerate(replies):
            rows.append(
                Evaluation(
                    **row.model_dump(include={"prompt_id", "prompt", "reference", "category", "temperature"}),
                    answers={model: column[number] for model, column in compared.items()},
                )
            )
    return rows


def _rates(rows: Sequence[Evaluation], seed: int) -> dict[str, dict[str, Any]]:
    return _ordered({judge: dataclasses.asdict(rate) for judge, rate in win_rates(rows, seed).items()})


def _best_base(greedy: Sequence[Evaluation], lead: str | None, best: float | None, seed: int) -> dict[str, Any]:
    """The greedy tuned model against the base model at its best temperature, by the leading judge."""
    rate = win_rates(greedy, seed, base="best_base").get(lead or "") if best is not None else None
    missing = dict.fromkeys(("win_rate", "low", "high"))
    return {"temperature": best, **(dataclasses.asdict(rate) if rate else missing)}


def _ordered(values: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """A map by name, with the label scores first."""
    return dict(sorted(values.items(), key=lambda item: (not item[0].startswith("label_score"), item[0])))
