"""Score logged answers with the automated metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from preflow import store
from preflow.chat import last_user_turn
from preflow.models import load_encoder, model_digest
from preflow.progress import track
from preflow.rows import Generation, Prompt, ScoredGeneration, read_rows, write_rows
from preflow.scoring.label import label_score, scorer_digest
from preflow.scoring.metric import Embed, ScoredText
from preflow.scoring.registry import check, remembering, score_texts

_BATCH = 64


def auto_score(
    *,
    generations: Path,
    prompts: Path,
    encoder: str,
    label_weights: Mapping[str, float],
    monitors: Sequence[str],
    database_url: str,
    output: Path,
) -> dict[str, Any]:
    """Scores generations, and writes the scores to the log and to `output`.

    Answers that the log has scores of by the same scorer are not scored again.

    Args:
        generations: File of generation rows.
        prompts: File of prompt rows, for their references.
        encoder: Reference of the sentence encoder.
        label_weights: Weights of the metrics in `reward_score`.
        monitors: Metrics that are watched and never trained on.
        database_url: DSN of the database with the log.
        output: File of scored generation rows to write.

    Returns:
        The mean of each score, the mean label score, and the rank correlation of label score and length in tokens.

    Raises:
        PreflowError: Roles overlap, a metric is unknown, the input is invalid, or the database is unreachable.
    """
    check({"label_weights": label_weights, "monitors": monitors})
    rows = read_rows(generations, Generation)
    references = {row.prompt_id: row.reference for row in read_rows(prompts, Prompt)}
    digest = scorer_digest(label_weights, monitors, model_digest(encoder))
    names = [*label_weights, *monitors]

    def scored(row: Generation) -> ScoredGeneration:
        return _row(row, {name: known[row.generation_id][name] for name in names}, label_weights, digest)

    with store.connect(database_url) as connection:
        known = store.select_scores(connection, [row.generation_id for row in rows], digest)
        missing = [row for row in rows if set(known.get(row.generation_id, {})) != set(names)]
        if missing:
            embed = remembering(load_encoder(encoder))
            with track("answers scored", len(missing)) as advance:
                for start in range(0, len(missing), _BATCH):
                    batch = missing[start : start + _BATCH]
                    known.update(_score(batch, references, names, embed))
                    store.write_scores(connection, [scored(row) for row in batch])
                    advance(len(batch))
    result = [scored(row) for row in rows]
    write_rows(output, result)
    return _summary(result, names)


def _score(
    rows: Sequence[Generation], references: Mapping[str, str | None], names: Sequence[str], embed: Embed
) -> dict[str, dict[str, tuple[float | None, str | None]]]:
    texts = [
        ScoredText(last_user_turn(row.prompt), row.response, row.finish_reason == "stop", references.get(row.prompt_id))
        for row in rows
    ]
    scores = score_texts(texts, names, embed)
    return {row.generation_id: {name: scores[name][number] for name in names} for number, row in enumerate(rows)}


def _row(
    row: Generation, scores: Mapping[str, tuple[float | None, str | None]], weights: Mapping[str, float], digest: str
) -> ScoredGeneration:
    values = {name: value for name, (value, _) in scores.items()}
    reasons = {name: reason or "" for name, (value, reason) in scores.items() if value is None}
    return ScoredGeneration(
        **row.model_dump(),
        scores=values,
        score_reasons=reasons,
        reward_score=label_score(values, weights),
        scorer_digest=digest,
    )


def _summary(rows: Sequence[ScoredGeneration], names: Sequence[str]) -> dict[str, Any]:
    known = {name: [value for row in rows if (value := row.scores[name]) is not None] for name in names}
    rewards = np.array([row.reward_score for row in rows])
    lengths = np.array([row.completion_tokens for row in rows])
    return {
        "mean_reward_score": float(rewards.mean()),
        "length_rank_correlation": _rank_correlation(rewards, lengths),
        **{f"mean_{name}": float(np.mean(values)) if values else None for name, values in known.items()},
    }


def _rank_correlation(left: np.ndarray, right: np.ndarray) -> float:
    """Spearman's rank correlation, ties by their mean rank; 0 where one side is constant."""
    from scipy.stats import spearmanr

    if left.std() == 0 or right.std() == 0:
        return 0.0
    return float(spearmanr(left, right).statistic)
