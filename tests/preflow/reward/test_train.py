"""A reward model learns what is preferred, and gets its zero point from reference answers."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.errors import PreflowError
from preflow.reward.config import RewardModelConfig, check
from preflow.reward.model import RewardModel, read_summary
from preflow.reward.scripted import scripted_pairs
from preflow.reward.train import _batches, _fit, pair_loss, train_reward_model
from preflow.rows import Preference, Prompt, write_rows
from tests.tiny import questions

pytestmark = pytest.mark.usefixtures("exact")
Pairs = Callable[..., list[Preference]]


@pytest.fixture
def train(encoder_folder: Path, tmp_path: Path, prompt_file: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    def run(rows: list[Preference], prompts: list[Prompt], **given: Any) -> dict[str, Any]:
        write_rows(tmp_path / "pairs.jsonl", rows)
        settings: dict[str, Any] = {
            "pairs": tmp_path / "pairs.jsonl",
            "prompts": prompt_file(rows=prompts),
            "base_model": str(encoder_folder),
            "encoder": str(encoder_folder),
            "output": tmp_path / "reward_model",
        }
        options = {name: given.pop(name) for name in RewardModelConfig.model_fields if name in given}
        config = RewardModelConfig(**{"train_steps": 2, "batch_size": 8, **options})
        return train_reward_model(**{**settings, **given}, config=config)

    return run


def test_the_loss_of_pairs() -> None:
    # -log sigmoid of the margins 0 and ln 3 is ln 2 and ln 4/3; with weights 1 and 3 the mean is their weighted one.
    chosen, rejected = torch.tensor([1.0, math.log(3)]), torch.tensor([1.0, 0.0])
    certain = torch.ones(2)
    found = pair_loss(chosen, rejected, torch.tensor([1.0, 3.0]), certain)
    assert float(found) == pytest.approx((math.log(2) + 3 * math.log(4 / 3)) / 4)
    assert float(pair_loss(chosen, rejected, torch.tensor([2.0, 6.0]), certain)) == pytest.approx(float(found))


def test_the_share_of_votes_is_the_target_of_the_loss() -> None:
    # Three votes to two and a margin of ln 3: -0.6 log(3/4) - 0.4 log(1/4). Its least value is where the odds are 3:2.
    one, target = torch.ones(1), torch.tensor([3 / 5])
    found = pair_loss(torch.tensor([math.log(3)]), torch.zeros(1), one, target)
    assert float(found) == pytest.approx(-0.6 * math.log(3 / 4) - 0.4 * math.log(1 / 4))
    margin = torch.tensor([math.log(3 / 2)], requires_grad=True)
    pair_loss(margin, torch.zeros(1), one, target).backward()
    assert margin.grad is not None and float(margin.grad) == pytest.approx(0.0, abs=1e-6)


def test_every_pair_comes_once_in_a_pass(make_pairs: Pairs) -> None:
    pairs = make_pairs(6, "train")
    names = [[pair.prompt_id for pair in batch] for batch in _batches(pairs, 6, 2, seed=0)]
    assert [len(batch) for batch in names] == [2] * 6
    for start in (0, 3):
        assert sorted(name for batch in names[start : start + 3] for name in batch) == sorted(
            pair.prompt_id for pair in pairs
        )
    assert names[:3] != names[3:], "another order each pass"
    assert names == [[pair.prompt_id for pair in batch] for batch in _batches(pairs, 6, 2, seed=0)]
    assert [len(batch) for batch in _batches(pairs, 2, 100, seed=0)] == [6, 6]


def test_training_sees_the_rewards_that_scoring_gives(
    base: str, make_pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = RewardModel(base, max_length=100)
    pairs = make_pairs(5, "train")
    expected = [
        model.score([pair.prompt for pair in pairs], [getattr(pair, side) for pair in pairs])
        for side in ("chosen", "rejected")
    ]
    seen: list[torch.Tensor] = []

    def noted(chosen: torch.Tensor, rejected: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.extend((chosen.detach(), rejected.detach()))
        return pair_loss(chosen, rejected, *rest)

    monkeypatch.setattr("preflow.reward.train.pair_loss", noted)
    _fit(model, pairs, RewardModelConfig(train_steps=1, batch_size=5))
    for found, scores in zip(seen, expected, strict=True):  # dropout would show here
        torch.testing.assert_close(found.sort().values, scores.sort().values, atol=1e-5, rtol=1e-5)


def test_the_zero_point_is_the_mean_of_the_references(
    train: Callable[..., Any], make_pairs: Pairs, tmp_path: Path
) -> None:
    prompts = questions(40, references=True)
    validation = questions(4, split="validation", references=True)
    validation = [row.model_copy(update={"reference": f"It is {row.prompt}"}) for row in validation]
    known = {row.prompt_id for row in validation}
    prompts = [row for row in prompts if row.prompt_id not in known] + validation
    pairs = [*make_pairs(8, "train"), *make_pairs(4, "validation")]
    summary = train(pairs, prompts)
    model = RewardModel.load(tmp_path / "reward_model")
    assert (model.zero_point, model.scale) == (summary["zero_point"], summary["scale"])
    good = [row for row in prompts if row.split == "validation"]
    scores = model.score([row.prompt for row in good], [str(row.reference) for row in good])
    assert float(scores.mean()) == pytest.approx(0.0, abs=1e-4)
    judged = pairs[8:]
    texts = [text for pair in judged for text in (pair.chosen, pair.rejected)]
    spread = model.score([pair.prompt for pair in judged for _ in range(2)], texts).std(correction=0)
    assert float(spread) == pytest.approx(1.0, abs=1e-4)


def test_without_references_the_zero_point_is_the_mean_of_preferred_answers(
    train: Callable[..., Any], make_pairs: Pairs, tmp_path: Path
) -> None:
    validation = make_pairs(4, "validation")
    train([*make_pairs(8, "train"), *validation], questions(10))
    model = RewardModel.load(tmp_path / "reward_model")
    scores = model.score([pair.prompt for pair in validation], [pair.chosen for pair in validation])
    assert float(scores.mean()) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_a_simple_preference_is_learnt(
    train: Callable[..., Any], make_pairs: Pairs, kind: str, policy_folder: Path, encoder_folder: Path
) -> None:
    pairs = [*make_pairs(120, "train"), *make_pairs(30, "validation")]
    base = encoder_folder if kind == "encoder" else policy_folder
    summary = train(pairs, questions(5), base_model=str(base), train_steps=90, batch_size=16, learning_rate=2e-3)
    assert summary["accuracy"] > 0.9
    assert summary["accuracy_low"] <= summary["accuracy"] <= summary["accuracy_high"]
    assert (summary["train_pairs"], summary["validation_pairs"]) == (120, 30)
    assert summary["scripted_pairs"] == 60 / 180


def test_an_encoder_learns_that_a_copy_is_no_answer(make_pairs: Pairs, encoder_folder: Path) -> None:
    model = RewardModel(str(encoder_folder), max_length=100)
    pairs = make_pairs(40, "train")
    prompts = [str(pair.prompt) for pair in make_pairs(20, "validation")]
    good = [pair.chosen for pair in make_pairs(20, "validation")]
    model.likeness.data = torch.tensor([10.0, 0.0])
    assert bool((model.score(prompts, prompts) > model.score(prompts, good)).all()), "the cosine prefers copies"
    scripted = scripted_pairs(pairs, {}, seed=0)
    _fit(model, [*pairs, *scripted], RewardModelConfig(train_steps=60, batch_size=16, learning_rate=1e-3))
    assert float((model.score(prompts, prompts) < model.score(prompts, good)).float().mean()) > 0.7


def test_pairs_of_no_weight_teach_nothing(train: Callable[..., Any], make_pairs: Pairs) -> None:
    flipped = [
        pair.model_copy(update={"chosen": pair.rejected, "rejected": pair.chosen, "weight": 1e-6})
        for pair in make_pairs(40, "train")
    ]
    pairs = [*make_pairs(40, "train"), *flipped, *make_pairs(20, "validation")]
    assert train(pairs, questions(5), train_steps=40, learning_rate=2e-3)["accuracy"] > 0.9


def test_the_summary_has_what_the_report_needs_and_lies_in_the_folder(
    train: Callable[..., Any], make_pairs: Pairs, tmp_path: Path
) -> None:
    pairs = [*make_pairs(8, "train"), *make_pairs(6, "validation")]
    summary = train(pairs, questions(5))
    assert train(pairs, questions(5)) == summary, "a retry replaces the folder"
    assert set(summary) == {
        "accuracy", "accuracy_low", "accuracy_high", "baseline_longer", "baseline_similarity", "train_pairs",
        "scripted_pairs", "validation_pairs", "zero_point", "scale", "roc", "confusion",
    }  # fmt: skip
    written = json.loads((tmp_path / "reward_model" / "summary.json").read_text())
    assert written == {name: value for name, value in summary.items() if name not in ("roc", "confusion")}
    assert read_summary(tmp_path / "reward_model") == written
    assert all(isinstance(value, int | float) for value in written.values())


def test_the_same_seed_gives_the_same_model_and_leaves_the_callers_random_numbers_alone(
    train: Callable[..., Any], make_pairs: Pairs, policy_folder: Path
) -> None:
    pairs = [*make_pairs(8, "train"), *make_pairs(6, "validation")]
    state = torch.get_rng_state()
    first = train(pairs, questions(5), seed=3, base_model=str(policy_folder))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(7)
    assert train(pairs, questions(5), seed=3, base_model=str(policy_folder)) == first
    assert train(pairs, questions(5), seed=4, base_model=str(policy_folder)) != first


@pytest.mark.parametrize("split", ["train", "validation"])
def test_both_splits_are_needed(train: Callable[..., Any], make_pairs: Pairs, split: Any) -> None:
    other = "validation" if split == "train" else "train"
    with pytest.raises(PreflowError, match=f"pairs.jsonl: no pair of a {split} prompt"):
        train(make_pairs(4, other), questions(5))


def test_arguments_are_checked_by_name() -> None:
    check({"train_steps": 1, "learning_rate": 1e-3, "pairs": "anything"})
    with pytest.raises(PreflowError, match="`learning_rate`: 0.0 given"):
        check({"learning_rate": 0.0})


def test_a_text_holds_prompt_and_answer() -> None:
    assert RewardModelConfig(prompt_sequence_length=100, target_sequence_length=20).max_length == 120
