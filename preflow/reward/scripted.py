"""Pairs of a good answer and a scripted one, from which a reward model learns what judges of meaning overlook."""

from collections.abc import Mapping, Sequence
from itertools import islice
from math import ceil, fsum

import torch

from preflow.canaries import CANARIES
from preflow.chat import last_user_turn
from preflow.identity import normalise
from preflow.rows import Preference

SCRIPTS = ("shuffled_prompt", "copied_prompt", "excerpt", "other_reference")
"""The scripts of training; the other canaries are left for the evaluation."""
_SHARE = 0.5  # scripted pairs for each pair: enough to learn from, few enough for people's and metrics' pairs to lead


def scripted_pairs(pairs: Sequence[Preference], references: Mapping[str, str], seed: int) -> list[Preference]:
    """Pairs in which a good answer is preferred to a scripted one, half as many as there are pairs.

    They have the mean weight of the pairs.

    Args:
        pairs: Pairs of train prompts.
        references: Reference answers by prompt id; a prompt without one has its last chosen answer.
        seed: Seed of the choice among prompts and scripts.
    """
    rows = list({pair.prompt_id: pair for pair in pairs}.values())
    prompts = [last_user_turn(row.prompt) for row in rows]
    good = [references.get(row.prompt_id, row.chosen) for row in rows]
    rejected = [text for name in SCRIPTS for text in CANARIES[name](prompts, good)]
    order = torch.randperm(len(rejected), generator=torch.Generator().manual_seed(seed)).tolist()
    weight = fsum(pair.weight for pair in pairs) / len(pairs)
    found = (
        Preference(
            prompt=rows[at].prompt,
            chosen=good[at],
            rejected=rejected[number],
            prompt_id=rows[at].prompt_id,
            source="auto",
            weight=weight,
            group_id=rows[at].prompt_id,
            split=rows[at].split,
        )
        for number in order
        if normalise(good[at := number % len(rows)]) != normalise(rejected[number])
    )
    return list(islice(found, ceil(_SHARE * len(pairs))))
