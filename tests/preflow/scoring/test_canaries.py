"""Judges that need no encoder prefer packaged references to the scripted answers that they are there to catch."""

import json

import numpy as np
import pytest

from preflow.canaries import CANARIES
from preflow.identity import prompt_id, split_of
from preflow.packaged import packaged_file
from preflow.scoring.metric import Embed, ScoredText
from preflow.scoring.registry import METRICS

ROWS = [
    row
    for row in map(json.loads, packaged_file("packaged:prompts").read_text(encoding="utf-8").splitlines())
    if split_of(prompt_id(row["prompt"])) != "train"
]
OF_PROMPT_WORDS = ("shuffled_prompt", "padded_prompt", "repeated_word")


@pytest.mark.parametrize(
    ("metric", "canaries"),
    [
        ("own_words", (*OF_PROMPT_WORDS, "copied_prompt", "excerpt", "empty")),
        ("word_order", (*OF_PROMPT_WORDS, "empty")),
    ],
)
def test_a_monitor_prefers_references_to_what_it_is_to_catch(
    metric: str, canaries: tuple[str, ...], embed: Embed
) -> None:
    prompts, references = [row["prompt"] for row in ROWS], [row["reference"] for row in ROWS]
    scored = {"reference": references, **{name: CANARIES[name](prompts, references) for name in canaries}}
    values = {name: _values(metric, prompts, answers, embed) for name, answers in scored.items()}
    good = values.pop("reference")
    for name, found in values.items():
        known = ~np.isnan(good)
        won = (found > good)[known] + 0.5 * (found == good)[known]
        assert won.mean() <= 0.05, name


def _values(metric: str, prompts: list[str], answers: list[str], embed: Embed) -> np.ndarray:
    texts = [ScoredText(prompt, answer, True) for prompt, answer in zip(prompts, answers, strict=True)]
    return np.array([one.value for one in METRICS[metric].score(texts, embed)], dtype=float)
