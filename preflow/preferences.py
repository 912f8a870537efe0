"""Preference pairs from label scores and feedback, each with its split."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from preflow.errors import PreflowError
from preflow.feedback.votes import Comparison, comparisons, counted_votes, votes_for
from preflow.identity import normalise, split_of
from preflow.near_duplicates import near_duplicates
from preflow.rows import (
    Feedback,
    Preference,
    PreferenceSource,
    Prompt,
    PromptText,
    Row,
    ScoredGeneration,
    Split,
    read_rows,
    write_rows,
)
from preflow.scoring.words import words
from preflow.settings import require

Key: TypeAlias = tuple[str, str, str]
"""A prompt id and an unordered pair of normalised texts, the smaller first."""

_RANK: Mapping[PreferenceSource, int] = {"human": 0, "user": 1, "example": 2, "auto": 3, "label": 4}
RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True)
class _Sifted:
    """Pairs from one kind of source, and what was left out.

    Attributes:
        pairs: Preferences by key.
        groups: By key, the ids of the groups of answers judged together that the pair was judged in, one per judgement.
        dropped: Keys of pairs without a preference: tied votes, or label scores that are too close.
        identical: Number of answers or comparisons left out because texts are identical.
    """

    pairs: dict[Key, Preference]
    groups: dict[Key, list[str]]
    dropped: set[Key]
    identical: int


def build_preferences(
    *,
    scored_generations: Path | None,
    feedback: Path | None,
    given_feedback: Path | None,
    eval_prompts: Path,
    min_score_gap: float,
    output: Path,
) -> dict[str, Any]:
    """Makes preference pairs from label scores and feedback, and writes them.

    Label pairs: any two answers to a prompt whose `reward_score` differs by `min_score_gap` or more; a text that was
    sampled twice is one answer with the mean score. Feedback pairs: the votes on the same two texts are added up over
    labelers. Feedback on a pair, even a tie, overrules the label scores.

    K answers that were judged together weigh K - 1, whoever judged them: label scores, a ranking, or one labeler's
    ratings or thumbs. Their pairs share it equally; a pair without a preference, or overruled, has no part in it, and K
    counts the answers in the pairs that remain. `weight` is the mean of these shares over the judgements of a pair.
    `group_id` is shared by the pairs of one group (of the first one, if a pair was judged in several).

    The split is test for evaluation prompts and for prompts that nearly repeat one. Otherwise it is the split of the
    prompt's id, but train for a validation prompt that nearly repeats a train prompt.

    Args:
        scored_generations: Scored generation rows, if answers were scored.
        feedback: Feedback rows of the store, if it was read. A row whose id is also in `given_feedback` replaces it.
        given_feedback: Feedback rows of a preference dataset, if there is one.
        eval_prompts: Prompt rows of the evaluation.
        min_score_gap: Smallest difference of two label scores that makes a pair.
        output: File of preference rows to write, sorted by prompt id and texts.

    Returns:
        Counts: `pairs`, `by_source`, `by_split`, `ties_dropped`, `below_gap`, `identical_dropped`, `overruled_labels`,
        and `near_duplicates`, the prompts in another split than that of their id; and `longer_chosen_share`, the share
        of pairs whose longer answer (in words) was chosen, among those of different length, or null.

    Raises:
        PreflowError: An input or `min_score_gap` is invalid, or there is no pair for training or for validation.
    """
    check({"min_score_gap": min_score_gap})
    scored = _read(scored_generations, ScoredGeneration)
    judged = {row.feedback_id: row for row in [*_read(given_feedback, Feedback), *_read(feedback, Feedback)]}
    prompts = {row.prompt_id: row.prompt for row in judged.values()} | {row.prompt_id: row.prompt for row in scored}
    splits, moved = _splits(prompts, {row.prompt_id: row.prompt for row in read_rows(eval_prompts, Prompt)})
    labels = _label_pairs(scored, min_score_gap, splits)
    voted = _voted_pairs(comparisons(judged.values()), splits)
    overruled = labels.pairs.keys() & (voted.pairs.keys() | voted.dropped)
    kept = {key: pair for key, pair in labels.pairs.items() if key not in overruled}
    result = [*_weighted(kept, labels.groups), *_weighted(voted.pairs, voted.groups)]
    result.sort(key=lambda pair: (pair.prompt_id, pair.chosen, pair.rejected))
    summary = {
        "pairs": len(result),
        "by_source": dict(sorted(Counter(pair.source for pair in result).items())),
        "by_split": {split: sum(pair.split == split for pair in result) for split in ("train", "validation", "test")},
        "ties_dropped": len(voted.dropped),
        "below_gap": len(labels.dropped),
        "identical_dropped": labels.identical + voted.identical,
        "overruled_labels": len(overruled),
        "near_duplicates": moved,
        "longer_chosen_share": _longer_chosen_share(result),
    }
    _check_enough(summary, min_score_gap)
    write_rows(output, result)
    return summary


def check(arguments: Mapping[str, Any]) -> None:
    """Checks the settings of `build_preferences` before anything runs.

    Raises:
        PreflowError: `min_score_gap` is negative or not finite.
    """
    gap = arguments["min_score_gap"]
    require(math.isfinite(gap) and gap >= 0, "min_score_gap", gap, "must be 0 or more")


def _splits(prompts: Mapping[str, PromptText], judged: Mapping[str, PromptText]) -> tuple[dict[str, Split], int]:
    """The split of each prompt, and how many are in another one than their id says, as they nearly repeat a prompt."""
    eval_ids = judged.keys() | near_duplicates(prompts, judged)
    splits = {name: split_of(name, eval_ids) for name in prompts}
    train, validation = (
        {name: prompts[name] for name, split in splits.items() if split == wanted} for wanted in ("train", "validation")
    )
    for name in near_duplicates(validation, train):
        splits[name] = "train"
    return splits, sum(split != split_of(name, judged) for name, split in splits.items())


def _weighted(pairs: Mapping[Key, Preference], groups: Mapping[Key, Sequence[str]]) -> list[Preference]:
    """The pairs with their weights: see `build_preferences`."""
    members: dict[str, set[Key]] = defaultdict(set)
    for key in pairs:
        for group in groups[key]:
            members[group].add(key)
    answers = {group: {text for _, *texts in keys for text in texts} for group, keys in members.items()}
    shares = {group: (len(answers[group]) - 1) / len(keys) for group, keys in members.items()}
    return [
        pair.model_copy(update={"weight": math.fsum(shares[group] for group in groups[key]) / len(groups[key])})
        for key, pair in pairs.items()
    ]


def _label_pairs(rows: Sequence[ScoredGeneration], min_score_gap: float, splits: Mapping[str, Split]) -> _Sifted:
    answers: dict[str, dict[str, list[ScoredGeneration]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: row.generation_id):
        answers[row.prompt_id][normalise(row.response)].append(row)
    pairs: dict[Key, Preference] = {}
    below: set[Key] = set()
    for prompt, texts in answers.items():
        means = {text: math.fsum(row.reward_score for row in same) / len(same) for text, same in texts.items()}
        for left, right in combinations(sorted(texts), 2):
            better, worse = (left, right) if means[left] > means[right] else (right, left)
            # 0.35 and 0.3 are 0.05 apart on paper, but 0.04999999999999999 apart in floating point.
            gap = round(means[better] - means[worse], 9)
            key = (prompt, left, right)
            if gap < min_score_gap or gap == 0:
                below.add(key)
            else:
                pairs[key] = _label_pair(texts[better][0], texts[worse][0], gap, splits)
    groups = {key: [pair.group_id] for key, pair in pairs.items()}
    return _Sifted(pairs, groups, below, len(rows) - sum(len(texts) for texts in answers.values()))


def _label_pair(
    better: ScoredGeneration, worse: ScoredGeneration, gap: float, splits: Mapping[str, Split]
) -> Preference:
    return Preference(
        prompt=better.prompt,
        chosen=better.response,
        rejected=worse.response,
        prompt_id=better.prompt_id,
        source="label",
        score_gap=gap,
        group_id=better.prompt_id,
        split=splits[better.prompt_id],
    )


def _voted_pairs(votes: Sequence[Comparison], splits: Mapping[str, Split]) -> _Sifted:
    by_pair: dict[Key, list[Comparison]] = defaultdict(list)
    for vote in votes:
        left, right = sorted((normalise(vote.better), normalise(vote.worse)))
        if left != right:
            by_pair[vote.prompt_id, left, right].append(vote)
    pairs: dict[Key, Preference] = {}
    groups: dict[Key, list[str]] = {}
    ties: set[Key] = set()
    for key, on_pair in by_pair.items():
        counted = counted_votes(on_pair)
        first = votes_for(key[1], counted)
        if first == len(counted) / 2:
            ties.add(key)
        else:
            pairs[key] = _voted_pair(counted, key, first, splits)
            groups[key] = [vote.group_id for vote in counted]
    return _Sifted(pairs, groups, ties, len(votes) - sum(len(on_pair) for on_pair in by_pair.values()))


def _voted_pair(votes: Sequence[Comparison], key: Key, first: float, splits: Mapping[str, Split]) -> Preference:
    second = len(votes) - first
    chosen, rejected = (key[1], key[2]) if first > second else (key[2], key[1])
    # A text may come in several spellings that are equal when normalised: take the same one whatever the order of rows.
    texts = sorted({text for vote in votes for text in (vote.better, vote.worse)}, reverse=True)
    spelled = {normalise(text): text for text in texts}
    return Preference(
        prompt=min((vote.prompt for vote in votes), key=json.dumps),
        chosen=spelled[chosen],
        rejected=spelled[rejected],
        prompt_id=key[0],
        source=min((vote.source for vote in votes), key=_RANK.__getitem__),
        group_id=min(vote.group_id for vote in votes),
        votes_for=max(first, second),
        votes_against=min(first, second),
        agreement=max(first, second) / len(votes),
        feedback_ids=sorted({one for vote in votes for one in vote.feedback_ids}),
        split=splits[key[0]],
    )


def _longer_chosen_share(pairs: Sequence[Preference]) -> float | None:
    lengths = [(len(words(pair.chosen)), len(words(pair.rejected))) for pair in pairs]
    different = [chosen > rejected for chosen, rejected in lengths if chosen != rejected]
    return sum(different) / len(different) if different else None


def _check_enough(summary: Mapping[str, Any], min_score_gap: float) -> None:
    for split, purpose in (("train", "train on"), ("validation", "validate with")):
        if not summary["by_split"][split]:
            raise PreflowError(
                f"there is no preference pair to {purpose} (pairs: {summary['pairs']}, in the test split: "
                f"{summary['by_split']['test']}, ties: {summary['ties_dropped']}, label scores closer than "
                f"{min_score_gap:g}: {summary['below_gap']}); lower `min_score_gap`, raise `num_prompts` or "
                "`num_samples`, or add feedback on other prompts"
            )


def _read(path: Path | None, row_type: type[RowT]) -> list[RowT]:
    return read_rows(path, row_type, allow_empty=True) if path else []
