"""The figures of an evaluation, from its rows alone: win rates by judge, and each model's measures."""

from collections.abc import Sequence

import numpy as np

from preflow.evaluation.text_metrics import bleu, rouge_l
from preflow.evaluation.win_rates import WinRate, win_rate
from preflow.rows import Evaluation
from preflow.scoring.words import distinct_n, words


def win_rates(rows: Sequence[Evaluation], seed: int, *, base: str = "base") -> dict[str, WinRate]:
    """The tuned model's win rate by every judge that scored both answers to some prompt.

    Args:
        rows: Evaluation rows of one temperature.
        seed: Seed of the bootstrap.
        base: The answers to compare with: `base` or `best_base`.
    """
    tuned, others = ([row.answers[model] for row in rows] for model in ("tuned", base))
    lengths = [answer.tokens for answer in tuned], [answer.tokens for answer in others]
    rates = {
        judge: win_rate(
            [answer.scores[judge] for answer in tuned], [answer.scores[judge] for answer in others], *lengths, seed=seed
        )
        for judge in tuned[0].scores
    }
    return {judge: rate for judge, rate in rates.items() if rate is not None}


def measures(rows: Sequence[Evaluation], model: str) -> dict[str, float | None]:
    """One model's measures over all prompts: lengths, shares, and the mean score of each judge."""
    answers = [row.answers[model] for row in rows]
    texts, references = [answer.response for answer in answers], [row.reference for row in rows]
    spoken = [words(text) for text in texts]
    scores = {
        judge: [value for answer in answers if (value := answer.scores[judge]) is not None]
        for judge in answers[0].scores
    }
    return {
        "response_tokens": float(np.mean([answer.tokens for answer in answers])),
        "eos_rate": float(np.mean([answer.finish_reason == "stop" for answer in answers])),
        "distinct_1": distinct_n(spoken, 1),
        "distinct_2": distinct_n(spoken, 2),
        "rouge_l": rouge_l(texts, references),
        "bleu": bleu(texts, references),
        **{judge: float(np.mean(values)) if values else None for judge, values in scores.items()},
    }
