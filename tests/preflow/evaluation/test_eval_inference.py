"""A policy is compared with its base by every judge, and the comparison is written down."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.canaries import CANARIES
from preflow.errors import PreflowError
from preflow.evaluation.base_config import BaseInferenceConfig
from preflow.evaluation.base_inference import base_inference
from preflow.evaluation.config import EvaluationConfig, check
from preflow.evaluation.eval_inference import eval_inference
from preflow.evaluation.win_rates import outcome
from preflow.models import load_tokenizer
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from preflow.reward.model import RewardModel
from preflow.rows import Evaluation, Preference, read_rows, write_rows
from tests.tiny import questions

pytestmark = pytest.mark.usefixtures("exact")
WEIGHTS = {"relevance": 2.0, "ended_properly": 0.5}
MONITORS = ["repetition", "reference_similarity"]
TEMPERATURES = [0.0, 0.7]
JUDGES = {"label_score", "label_score_without_ended_properly", *WEIGHTS, *MONITORS, "reward_model"}


@pytest.fixture
def save(policy_folder: Path, tmp_path: Path) -> Callable[[float], Path]:
    """Saves a policy whose adapters changed by so much."""

    def run(size: float) -> Path:
        torch.manual_seed(0)
        policy = Policy(str(policy_folder), PPOConfig(lora_rank=2, lora_layers=0))
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.data.add_(size * torch.randn(parameter.shape))
        folder = tmp_path / "policy"
        policy.save(folder)
        load_tokenizer(str(policy_folder)).save_pretrained(folder)
        return folder

    return run


@pytest.fixture
def judge(policy_folder: Path, encoder_folder: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Evaluates a policy with tiny everything."""
    model = RewardModel(str(encoder_folder), max_length=64)
    model.head.weight.data.normal_()
    model.save(tmp_path / "reward_model", {"accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": 0.8})
    write_rows(tmp_path / "prompts.jsonl", questions(4, split="validation", references=True))
    write_rows(tmp_path / "eval_prompts.jsonl", questions(12, split="test", references=True))
    base_inference(
        prompts=tmp_path / "prompts.jsonl",
        eval_prompts=tmp_path / "eval_prompts.jsonl",
        model=str(policy_folder),
        output=tmp_path / "base_answers.jsonl",
        config=BaseInferenceConfig(target_sequence_length=6, batch_size=5, temperatures=TEMPERATURES),
    )
    pairs = [
        Preference(
            prompt=row.prompt, chosen="good water", rejected="bad water", prompt_id=row.prompt_id, source="label",
            group_id=row.prompt_id, split=split,
        )
        for split in ("test", "train")
        for row in questions(3, split=split)
    ]  # fmt: skip
    write_rows(tmp_path / "pairs.jsonl", pairs)

    def run(policy: Path, **given: Any) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "base_answers": tmp_path / "base_answers.jsonl",
            "pairs": tmp_path / "pairs.jsonl",
            "base_model": str(policy_folder),
            "policy": policy,
            "reward_model": tmp_path / "reward_model",
            "encoder": str(encoder_folder),
            "label_weights": WEIGHTS,
            "monitors": MONITORS,
            "reward_weights": {"reward_model": 1.0},
            "output": tmp_path / "evaluations",
        }
        options = {name: given.pop(name) for name in EvaluationConfig.model_fields if name in given}
        config = EvaluationConfig(**{"target_sequence_length": 6, "batch_size": 5, **options})
        return eval_inference(**{**settings, **given}, config=config)

    return run


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes the tiny models' judges for good ones: with random weights none tells a reference from a canary."""
    monkeypatch.setattr("preflow.evaluation.leading.may_lead", lambda shares: True)


def rows_of(tmp_path: Path) -> list[Evaluation]:
    return read_rows(tmp_path / "evaluations" / "evaluations.jsonl", Evaluation)


@pytest.mark.usefixtures("trusted")
def test_an_untouched_policy_ties_with_its_base(
    save: Callable[..., Path], judge: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    summary = judge(save(0.0))
    assert summary["prompts"] == 12
    assert summary["kl"] == summary["kl_high"] == pytest.approx(0.0, abs=1e-6)
    assert list(summary["temperatures"]) == ["0", "0.7"]
    for rates in summary["temperatures"].values():
        assert set(rates) == JUDGES
        for rate in rates.values():
            assert (rate["wins"], rate["ties"], rate["losses"]) == (0, 12, 0)
            assert rate["length_controlled"] == pytest.approx(0.5)
    assert summary["base"] == summary["tuned"]
    rows = rows_of(tmp_path)
    assert all(row.answers["base"] == row.answers["tuned"] for row in rows)
    for temperature in TEMPERATURES:
        ids = [row.prompt_id for row in rows if row.temperature == temperature]
        assert ids == sorted(ids)
        assert len(ids) == 12


@pytest.mark.usefixtures("trusted")
def test_a_changed_policy_is_told_from_its_base(
    save: Callable[..., Path], judge: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    summary = judge(save(0.3))
    assert summary["kl_high"] > summary["kl"] > 0.1
    assert json.loads((tmp_path / "evaluations" / "summary.json").read_text()) == summary
    assert (summary["reward_model_accuracy"], summary["baseline_longer"]) == (0.75, None)
    assert summary["lead"] == "label_score"
    assert summary["win_rates"] == summary["temperatures"]["0"]
    leading = summary["win_rates"]["label_score"]
    figures = [summary[name] for name in ("win_rate", "win_rate_low", "win_rate_high")]
    assert figures == [leading[name] for name in ("win_rate", "low", "high")]
    for row in rows_of(tmp_path):
        for given in row.answers.values():
            scores = given.scores
            assert set(scores) == JUDGES
            relevance, ended = scores["relevance"], scores["ended_properly"]
            assert relevance is not None and ended is not None
            assert scores["label_score"] == pytest.approx((2 * relevance + 0.5 * ended) / 2.5)
            assert scores["label_score_without_ended_properly"] == pytest.approx(relevance)
            assert 1 <= given.tokens <= 12, "up to twice the training length"
            assert given.finish_reason == "stop" or given.tokens == 12
    greedy = [row for row in rows_of(tmp_path) if row.temperature == 0]
    assert any(row.answers["base"].response != row.answers["tuned"].response for row in greedy)
    for name in ("base", "tuned"):
        tokens = [row.answers[name].tokens for row in greedy]
        assert summary[name]["response_tokens"] == pytest.approx(sum(tokens) / len(tokens))
        assert {"eos_rate", "distinct_1", "distinct_2", "rouge_l", "bleu"} | JUDGES <= set(summary[name])


@pytest.mark.usefixtures("trusted")
def test_the_third_arm_is_the_base_at_the_temperature_that_validation_prompts_choose(
    save: Callable[..., Path], judge: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    summary = judge(save(0.3))
    means = summary["base_by_temperature"]
    assert list(means) == ["0", "0.3", "0.5", "0.7", "1"]
    best = summary["best_base"]["temperature"]
    assert means[f"{best:g}"] == max(means.values())
    greedy = [row for row in rows_of(tmp_path) if row.temperature == 0]
    outcomes = [
        outcome(row.answers["tuned"].scores["label_score"], row.answers["best_base"].scores["label_score"])
        for row in greedy
    ]
    assert summary["best_base"]["win_rate"] == pytest.approx(sum(map(float, outcomes)) / 12)  # type: ignore[arg-type]
    if best == 0:
        assert all(row.answers["best_base"] == row.answers["base"] for row in greedy)


def test_judges_that_cannot_tell_canaries_from_references_do_not_lead(
    save: Callable[..., Path], judge: Callable[..., dict[str, Any]]
) -> None:
    summary = judge(save(0.3))
    assert set(summary["canaries"]) == JUDGES
    assert all(set(shares) == set(CANARIES) for shares in summary["canaries"].values())
    # Random embeddings know no meaning, and every canary but the empty one ends properly.
    assert summary["lead"] is None
    assert list(summary["passed_over"]) == ["label_score", *MONITORS]
    assert "prefers the scripted answer" in summary["passed_over"]["label_score"]
    assert summary["win_rate"] is summary["best_base"]["win_rate"] is None


@pytest.mark.usefixtures("trusted")
def test_the_reward_model_is_measured_on_labelled_answers_to_test_prompts(
    save: Callable[..., Path], judge: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    summary = judge(save(0.3), min_score_gap=0.05)
    assert summary["reward_model_test"]["pairs"] > 3, "the three given pairs, and those that label scores make"
    assert 0 <= summary["reward_model_test"]["accuracy"] <= 1
    assert judge(save(0.3), min_score_gap=100.0)["reward_model_test"]["pairs"] == 3


@pytest.mark.usefixtures("trusted")
def test_without_labels_the_first_monitor_leads_and_never_the_reward_model(
    save: Callable[..., Path], judge: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    train = [row for row in read_rows(tmp_path / "pairs.jsonl", Preference) if row.split == "train"]
    write_rows(tmp_path / "train.jsonl", train)
    settings: dict[str, Any] = {"label_weights": {}, "pairs": tmp_path / "train.jsonl"}
    summary = judge(save(0.3), **settings, monitors=MONITORS)
    assert summary["lead"] == "repetition"
    assert summary["reward_model_test"] is None
    summary = judge(save(0.3), **settings, monitors=[])
    assert set(summary["win_rates"]) == {"reward_model"}
    assert summary["lead"] is summary["win_rate"] is None


@pytest.mark.usefixtures("trusted")
def test_what_ppo_maximized_does_not_lead(save: Callable[..., Path], judge: Callable[..., dict[str, Any]]) -> None:
    summary = judge(save(0.3), reward_weights={"scorer:relevance": 1.0})
    assert summary["passed_over"] == {"label_score": "was maximized by PPO"}
    assert summary["lead"] == "repetition"
    assert summary["judges"]["relevance"]["maximized"]
    assert not summary["judges"]["reward_model"]["maximized"]


def test_a_folder_with_other_files_is_refused_before_any_model_is_loaded(
    judge: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "letter.txt").write_text("Dear")
    with pytest.raises(PreflowError, match=r"evaluations: holds other files already \(letter.txt\)"):
        judge(tmp_path / "no_policy")


def test_a_metric_with_two_roles_is_refused_before_any_model_is_loaded(judge: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(PreflowError, match="`monitors`: 'relevance' is in `label_weights` too"):
        judge(Path("/nowhere"), monitors=["relevance"], base_model="/nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "`temperature`: 0.0 given"),
        ({"monitors": ["charm"]}, "metric 'charm' is not known"),
        ({"label_weights": {"charm": 1.0}}, "metric 'charm' is not known"),
        ({"monitors": ["relevance"]}, "`monitors`: 'relevance' is in `label_weights` too"),
    ],
)
def test_arguments_are_checked_by_name(changes: dict[str, Any], message: str) -> None:
    good = {"label_weights": {"relevance": 1.0}, "monitors": ["repetition"], "temperature": 0.5, "other": None}
    check(good)
    check({**good, "label_weights": {}})
    with pytest.raises(PreflowError, match=message):
        check({**good, **changes})
