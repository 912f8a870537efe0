"""Rewards of every kind, and what cannot be mixed."""

import inspect
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from preflow.errors import PreflowError
from preflow.identity import digest_bytes
from preflow.models import load_encoder, load_tokenizer
from preflow.ppo.config import PPOConfig
from preflow.ppo.reward_sources import (
    Answers,
    ScoreAnswers,
    Source,
    function_digest,
    load_rewards,
    parts_of,
    total_of,
)
from preflow.ppo.rollout import Rollout
from preflow.reward.model import RewardModel
from preflow.rows import Prompt
from preflow.scoring.registry import remembering
from tests.preflow.ppo.settings import replace
from tests.tiny import bare_tokenizer

pytestmark = pytest.mark.usefixtures("exact")
CONFIG = PPOConfig()


@pytest.fixture
def answers(prompts: list[Prompt]) -> Answers:
    return Answers(
        prompts[:3], ["It is good.", "water falls and water falls and water falls", "no"], [True, False, True]
    )


@pytest.fixture
def load(encoder_folder: Path) -> Callable[..., ScoreAnswers]:
    """Loads a reward of one part."""

    def run(name: str, reward_model: Path | None = None, config: PPOConfig = CONFIG) -> ScoreAnswers:
        embed = remembering(load_encoder(str(encoder_folder)))
        sources = load_rewards({name: 1.0}, reward_model=reward_model, embed=embed, config=config)
        return sources[name].score

    return run


def test_the_code_of_a_function_is_the_file_that_defines_it() -> None:
    here = digest_bytes(Path(__file__).read_bytes())
    assert function_digest(f"function:{__name__}:CONFIG") == here, "an object is where its module is"
    assert function_digest(f"function:{__name__}:test_the_code_of_a_function_is_the_file_that_defines_it") == here
    elsewhere = digest_bytes(Path(inspect.getfile(replace)).read_bytes())
    assert function_digest(f"function:{__name__}:replace") == elsewhere
    parts = ("function:sys:intern", "scorer:relevance", "reward_model")
    assert [function_digest(part) for part in parts] == ["", "", ""]
    with pytest.raises(PreflowError, match="'function:nowhere' cannot be loaded"):
        function_digest("function:nowhere")


@pytest.fixture
def classifier(encoder_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Saves a classifier with so many classes."""
    from transformers import BertConfig, BertForSequenceClassification

    def save(*labels: str) -> Path:
        config = BertConfig.from_pretrained(encoder_folder)
        config.id2label, config.label2id = dict(enumerate(labels)), {name: number for number, name in enumerate(labels)}
        torch.manual_seed(4)
        BertForSequenceClassification(config).save_pretrained(tmp_path / "classifier")
        load_tokenizer(str(encoder_folder)).save_pretrained(tmp_path / "classifier")
        return tmp_path / "classifier"

    return save


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of a user."""
    made = ModuleType("a_users_module")
    monkeypatch.setitem(sys.modules, "a_users_module", made)
    return made


def test_a_reward_model_scores_with_its_zero_point(
    load: Callable[..., ScoreAnswers], answers: Answers, encoder_folder: Path, tmp_path: Path
) -> None:
    model = RewardModel(str(encoder_folder), max_length=64)
    model.zero_point, model.scale = 3.0, 2.0
    model.save(tmp_path / "reward")
    raw = RewardModel(str(encoder_folder), max_length=64)
    expected = (raw.score([row.prompt for row in answers.prompts], answers.responses) - 3.0) / 2.0
    torch.testing.assert_close(load("reward_model", tmp_path / "reward")(answers), expected)


@pytest.mark.parametrize(
    ("labels", "label", "place"),
    [(["one"], "", 0), (["a", "b", "c"], "#b", 1), (["nothate", "hate"], "#nothate", 0), (["bad", "good"], "#good", 1)],
)
def test_a_classifier_gives_the_logit_of_the_class_that_is_named(
    load: Callable[..., ScoreAnswers],
    answers: Answers,
    classifier: Callable[..., Path],
    labels: list[str],
    label: str,
    place: int,
) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = classifier(*labels)
    found = load(f"classifier:{folder}{label}")(answers)
    plain: Any = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = load_tokenizer(str(folder))
    for row, text in enumerate(answers.responses):
        with torch.no_grad():
            logits = plain(**tokenizer(text, return_tensors="pt")).logits[0]
        assert float(found[row]) == pytest.approx(float(logits[place]), abs=1e-4)


@torch.no_grad()
def test_a_classifier_without_a_pad_token_reads_the_last_token_of_each_answer(
    load: Callable[..., ScoreAnswers], answers: Answers, tmp_path: Path
) -> None:
    from transformers import GPT2Config, GPT2ForSequenceClassification

    tokenizer = bare_tokenizer()
    torch.manual_seed(4)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.3, num_labels=1
    )
    plain = GPT2ForSequenceClassification(config).eval()
    plain.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = ["It is good!", "water falls and water falls", "no", "!"]
    found = load(f"classifier:{tmp_path}")(answers._replace(responses=texts))
    alone = [float(plain(torch.tensor([tokenizer(text)["input_ids"]])).logits) for text in texts]
    torch.testing.assert_close(found, torch.tensor(alone), atol=1e-4, rtol=1e-4)
    assert found.std() > 0.1


@pytest.mark.parametrize("labels", [("nothate", "hate"), ("hate", "nothate"), ("a", "b", "c")])
def test_a_classifier_of_several_classes_asks_which(
    load: Callable[..., ScoreAnswers], classifier: Callable[..., Path], labels: tuple[str, ...]
) -> None:
    folder = classifier(*labels)
    with pytest.raises(PreflowError, match=f"has {len(labels)} classes; add #{labels[0]} or another"):
        load(f"classifier:{folder}")


def test_a_class_that_a_classifier_does_not_have_is_refused(
    load: Callable[..., ScoreAnswers], classifier: Callable[..., Path]
) -> None:
    folder = classifier("a", "b", "c")
    with pytest.raises(PreflowError, match="has no class 'd'; it has a, b, c"):
        load(f"classifier:{folder}#d")


def test_a_metric_scores_and_is_no_number_where_it_has_nothing_to_say(
    load: Callable[..., ScoreAnswers], answers: Answers
) -> None:
    assert load("scorer:ended_properly")(answers).tolist() == [1.0, 0.0, 1.0]
    assert load("scorer:repetition")(answers).tolist() == pytest.approx([1.0, 0.5, 1.0])  # three of six runs
    assert load("scorer:reference_similarity")(answers).isnan().all(), "the prompts have no references"


def test_a_users_function_gets_prompts_and_completions(
    load: Callable[..., ScoreAnswers], answers: Answers, module: ModuleType
) -> None:
    def lengths(prompts: list[Any], completions: list[str]) -> list[int]:
        assert prompts == [row.prompt for row in answers.prompts]
        return [len(completion) for completion in completions]

    module.lengths = lengths  # type: ignore[attr-defined]
    assert load("function:a_users_module:lengths")(answers).tolist() == [len(text) for text in answers.responses]
    module.one = lambda **_: [1.0]  # type: ignore[attr-defined]
    with pytest.raises(PreflowError, match=r"returned scores of shape \(1,\), not \(3,\)"):
        load("function:a_users_module:one")(answers)


def test_parts_are_weighed_and_logged_one_by_one(
    answers: Answers, module: ModuleType, make_policy: Callable[..., Any], roll: Callable[..., Rollout]
) -> None:
    module.ones = lambda prompts, completions: [1.0] * len(prompts)  # type: ignore[attr-defined]
    module.count = lambda prompts, completions: list(range(len(prompts)))  # type: ignore[attr-defined]
    weights = {"function:a_users_module:ones": 2.0, "function:a_users_module:count": -0.5}
    sources = load_rewards(weights, reward_model=None, embed=remembering(None), config=CONFIG)
    parts = parts_of(sources, answers)
    assert {name: part.tolist() for name, part in parts.items()} == {
        "function:a_users_module:ones": [1.0, 1.0, 1.0], "function:a_users_module:count": [0.0, 1.0, 2.0]
    }  # fmt: skip
    rollout = roll(make_policy(), sources=sources)
    assert rollout.scores.tolist() == [2.0 - 0.5 * row for row in range(8)]
    assert rollout.parts == {"function:a_users_module:ones": 1.0, "function:a_users_module:count": 3.5}


def test_a_part_that_says_nothing_of_an_answer_leaves_the_other_parts_their_say() -> None:
    sources = {name: Source(weight, lambda _: torch.zeros(0)) for name, weight in (("a", 2.0), ("b", 0.5))}
    parts = {"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor([math.nan, 4.0, 8.0])}
    scores, missing = total_of(sources, parts)
    assert (scores.tolist(), missing) == ([2 + 3, 4 + 2, 6 + 4], 1)
    scores, missing = total_of(sources, {**parts, "b": torch.full((3,), math.nan)})
    assert (scores.tolist(), missing) == ([2.0, 4.0, 6.0], 3)
    with pytest.raises(PreflowError, match="`reward_weights`: no answer has a score by b; choose a part that fits"):
        total_of(sources, {"b": torch.full((3,), math.nan)})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reward_modle", "`reward_weights`: 'reward_modle' is not known; the forms are reward_model, classifier:MODEL"),
        ("reward_model", "`reward_weights`: 'reward_model' is named, but no reward model is given"),
        ("scorer:beauty", "metric 'beauty' is not known"),
        ("function:nowhere", "is not known; the forms are"),
        ("function:no_such_module:f", "cannot be loaded .No module named 'no_such_module'.; install the module"),
        ("function:json:no_such_function", "cannot be loaded"),
        ("classifier:", "is not known"),
    ],
)
def test_refused(load: Callable[..., ScoreAnswers], name: str, message: str) -> None:
    with pytest.raises(PreflowError, match=message):
        load(name)


def test_a_score_without_a_zero_cannot_be_replaced(load: Callable[..., ScoreAnswers]) -> None:
    replacing = replace(CONFIG, missing_eos="replace")
    with pytest.raises(PreflowError, match="`missing_eos`: .* a penalty of -0.1 cannot replace it; set it to sub"):
        load("function:json:dumps", config=replacing)
    load("scorer:ended_properly", config=replacing)


def test_a_reward_of_nothing_is_refused() -> None:
    with pytest.raises(PreflowError, match="`reward_weights`: no part is named"):
        load_rewards({}, reward_model=None, embed=remembering(None), config=CONFIG)


def test_the_order_of_weights_does_not_reach_the_sum() -> None:
    weights = {"scorer:repetition": 0.4, "scorer:ended_properly": 0.3, "scorer:length_fit": 1.1}
    for order in (weights, dict(reversed(weights.items()))):
        sources = load_rewards(order, reward_model=None, embed=remembering(None), config=CONFIG)
        assert [(name, source.weight) for name, source in sources.items()] == sorted(weights.items())
