"""Tiny reward models, and pairs to train them on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from preflow.reward.model import RewardModel
from preflow.rows import Preference, Split
from tests.tiny import questions


@pytest.fixture(params=["encoder", "causal"])
def base(request: pytest.FixtureRequest, encoder_folder: Path, policy_folder: Path) -> str:
    """Either kind of base model."""
    return str(encoder_folder if request.param == "encoder" else policy_folder)


@pytest.fixture
def model(base: str) -> RewardModel:
    """A reward model of either kind, whose head has learnt something already."""
    model = RewardModel(base, max_length=100)
    model.head.weight.data.normal_()
    model.head.bias.data.fill_(0.3)
    return model.eval()


@pytest.fixture
def make_pairs() -> Callable[..., list[Preference]]:
    """Makes pairs of one split, a prompt each: the answer that ends with `good` is preferred."""

    def make(count: int, split: Split, **changes: object) -> list[Preference]:
        fillers = ("water falls", "it is that", "brightly it stands", "yes and no and that", "the moon")
        return [
            Preference(
                **{
                    "prompt": row.prompt,
                    "chosen": f"{fillers[number % 5]} and {fillers[number % 3]} good",
                    "rejected": f"{fillers[(number + 2) % 5]} and {fillers[(number + 1) % 3]} bad",
                    "prompt_id": row.prompt_id,
                    "source": "label",
                    "group_id": row.prompt_id,
                    "split": split,
                    **changes,
                }
            )
            for number, row in enumerate(questions(count, split=split))
        ]

    return make
