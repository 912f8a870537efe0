"""A policy is compared with its base by every judge, and the comparison is written down."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.errors import PreflowError
from preflow.evaluation.config import EvaluationConfig, check
from preflow.evaluation.eval_inference import eval_inference
from preflow.models import load_tokenizer
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from preflow.reward.model import RewardModel
from preflow.rows import Evaluation, Preference, read_rows, write_rows
from tests.tiny import questions

pytestmark = pytest.mark.usefixtures("exact")
WEIGHTS = {"relevance": 2.0, "ended_properly": 0.5}
MONITORS = ["repetition", "reference_similarity"]
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
    write_rows(tmp_path / "prompts.jsonl", questions(12, split="test", references=True))
    pairs = [
        Preference(
            prompt=row.prompt, chosen="good water", rejected="bad water", prompt_id=row.prompt_id, source="label",
            group_id=row.prompt_id, split=split,
        )
        for split in ("test", "train")
        for row in questions(3, split=split)
    ]  # fmt: skip
    write_rows(tmp_path / "pairs.jsonl", pairs)
    (tmp_path / "log.jsonl").write_text(json.dumps({"update": 1, "reward_mean": 0.5, "kl": 0.1}) + "\n")

    def run(policy: Path, **given: Any) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "eval_prompts": tmp_path / "prompts.jsonl",
            "pairs": tmp_path / "pairs.jsonl",
            "base_model": str(policy_folder),
            "policy": policy,
            "reward_model": tmp_path / "reward_model",
            "encoder": str(encoder_folder),
            "label_weights": WEIGHTS,
            "monitors": MONITORS,
            "training_log": tmp_path / "log.jsonl",
            "evaluations_out": tmp_path / "evaluations",
            "report_out": tmp_path / "report.html",
            "markdown_out": tmp_path / "report.md",
        }
        options = {name: given.pop(name) for name in EvaluationConfig.model_fields if name in given}
        config = EvaluationConfig(**{"target_sequence_length": 6, "batch_size": 5, **options})
        return eval_inference(**{**settings, **given}, config=config)

    return run


def test_an_untouched_policy_ties_with_its_base(
    save: Callable[..., Path], judge: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    summary = judge(save(0.0))
    assert summary["prompts"] == 12
    assert summary["kl"] == pytest.approx(0.0, abs=1e-6)
    assert set(summary["win_rates"]) == JUDGES
    for rate in summary["win_rates"].values():
        assert (rate["wins"], rate["ties"], rate["losses"]) == (0, 12, 0)
        assert rate["win_rate"] == 0.5
        assert rate["length_controlled"] == pytest.approx(0.5)
    assert summary["base"] == summary["tuned"]
    rows = read_rows(tmp_path / "evaluations" / "evaluations.jsonl", Evaluation)
    assert [row.answers["base"] for row in rows] == [row.answers["tuned"] for row in rows]
    assert [row.prompt_id for row in rows] == sorted(row.prompt_id for row in rows)


def test_a_changed_policy_is_told_from_its_base(
    save: Callable[..., Path], judge: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    summary = judge(save(0.3))
    assert summary["kl"] > 0.1
    assert set(summary) == {
        "prompts", "win_rate", "win_rate_low", "win_rate_high", "win_rates", "kl", "base", "tuned",
        "reward_model_accuracy", "reward_model_accuracy_low", "reward_model_accuracy_high", "baseline_longer",
        "baseline_similarity", "reward_model_test",
    }  # fmt: skip
    assert (summary["reward_model_accuracy"], summary["baseline_longer"]) == (0.75, None)
    written = json.loads((tmp_path / "evaluations" / "summary.json").read_text())
    assert written == summary
    for name in ("win_rates", "base", "tuned"):
        labels = ["label_score", "label_score_without_ended_properly"]
        assert list(written[name]) == [*labels, *sorted(set(written[name]) - set(labels))]
    leading = summary["win_rates"]["label_score"]
    assert (summary["win_rate"], summary["win_rate_low"], summary["win_rate_high"]) == (
        leading["win_rate"],
        leading["low"],
        leading["high"],
    )
    rows = read_rows(tmp_path / "evaluations" / "evaluations.jsonl", Evaluation)
    assert any(row.answers["base"].response != row.answers["tuned"].response for row in rows)
    for row in rows:
        for given in row.answers.values():
            scores = given.scores
            assert set(scores) == JUDGES
            relevance, ended = scores["relevance"], scores["ended_properly"]
            assert relevance is not None and ended is not None
            assert scores["label_score"] == pytest.approx((2 * relevance + 0.5 * ended) / 2.5)
            assert scores["label_score_without_ended_properly"] == pytest.approx(relevance)
            assert 1 <= given.tokens <= 12, "up to twice the training length"
            assert given.finish_reason == "stop" or given.tokens == 12
    for name in ("base", "tuned"):
        measures = summary[name]
        tokens = [row.answers[name].tokens for row in rows]
        assert measures["response_tokens"] == pytest.approx(sum(tokens) / len(tokens))
        stopped = [row.answers[name].finish_reason == "stop" for row in rows]
        assert measures["eos_rate"] == pytest.approx(sum(stopped) / len(stopped))
        assert {"distinct_1", "distinct_2", "rouge_l", "bleu"} | JUDGES <= set(measures)
        judged = [row.answers[name].scores["reward_model"] for row in rows]
        assert measures["reward_model"] == pytest.approx(sum(map(float, judged)) / len(judged))  # type: ignore[arg-type]
    assert summary["reward_model_test"]["pairs"] == 3.0, "only test pairs"
    assert "<html" in (tmp_path / "report.html").read_text()
    assert "win" in (tmp_path / "report.md").read_text().lower()


def test_without_labels_the_reward_model_leads(
    save: Callable[..., Path], judge: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    train = [row for row in read_rows(tmp_path / "pairs.jsonl", Preference) if row.split == "train"]
    write_rows(tmp_path / "train.jsonl", train)
    summary = judge(
        save(0.3), label_weights={}, monitors=[], max_prompts=5, pairs=tmp_path / "train.jsonl", temperature=0.7
    )
    assert summary["prompts"] == 5
    assert set(summary["win_rates"]) == {"reward_model"}
    assert summary["win_rate"] == summary["win_rates"]["reward_model"]["win_rate"]
    assert summary["reward_model_test"] is None


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
        ({"temperature": -0.5}, "`temperature`: -0.5 given"),
        ({"max_prompts": -1}, "`max_prompts`: -1 given"),
        ({"monitors": ["charm"]}, "metric 'charm' is not known"),
        ({"label_weights": {"charm": 1.0}}, "metric 'charm' is not known"),
        ({"monitors": ["relevance"]}, "`monitors`: 'relevance' is in `label_weights` too"),
    ],
)
def test_arguments_are_checked_by_name(changes: dict[str, Any], message: str) -> None:
    good = {"label_weights": {"relevance": 1.0}, "monitors": ["repetition"], "temperature": 0.0, "other": None}
    check(good)
    check({**good, "label_weights": {}})
    with pytest.raises(PreflowError, match=message):
        check({**good, **changes})
