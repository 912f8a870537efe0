"""The loop from prompts and a reward model to an adapter and its log."""

import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from preflow.errors import PreflowError
from preflow.identity import split_of
from preflow.models import adapter_base, load_causal_lm, load_tokenizer
from preflow.ppo import PPOConfig, ppo_optimize, trainer
from preflow.ppo.policy import Policy
from preflow.ppo.sampling_copy import SamplingCopy
from preflow.reward.model import RewardModel
from tests.preflow.ppo.settings import replace
from tests.tiny import questions

pytestmark = [pytest.mark.usefixtures("exact"), pytest.mark.filterwarnings("ignore:Detected call of")]
IDS = torch.tensor([[1, 40, 41, 42, 2, 43, 44]])


@pytest.fixture
def optimize(
    policy_folder: Path, prompt_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Runs PPO; `judge` stands in for the reward model."""

    def run(config: PPOConfig, judge: Any = None, **given: Any) -> dict[str, Any]:
        if judge is not None:
            monkeypatch.setattr(RewardModel, "load", lambda folder, dtype: judge)
        settings: dict[str, Any] = {
            "prompts": given.get("prompts") or prompt_file(20),
            "model": str(policy_folder),
            "reward_model": tmp_path / "reward_model",
            "output": tmp_path / "tuned",
            "training_log": tmp_path / "log.jsonl",
            "config": config,
        }
        return ppo_optimize(**{**settings, **given})

    return run


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], list[dict[str, Any]]]:
    return lambda: [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("name", "settings"), [("notes.txt", {}), ("adapter_config.json", {"lora_rank": 0})])
def test_a_folder_with_other_files_is_refused_at_the_start(
    optimize: Callable[..., Any], config: PPOConfig, letters: Any, tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    def collect(*_: Any, **__: Any) -> None:
        raise AssertionError("it has started")

    optimize(replace(config, **settings), letters())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "collect_rollout", collect)
        with pytest.raises(AssertionError, match="it has started"):
            optimize(replace(config, **settings), letters())
        (tmp_path / "tuned" / name).write_text("{}")
        with pytest.raises(PreflowError, match=f"tuned: holds other files already .{name}.; give an empty folder"):
            optimize(replace(config, **settings), letters())


def test_without_a_critic_the_log_has_nothing_about_values(
    optimize: Callable[..., Any], log: Callable[..., Any], config: PPOConfig, letters: Any
) -> None:
    with_critic = replace(config, samples_per_prompt=2, minibatches=2, gae_lambda=1.0)
    optimize(with_critic, letters())
    [expected] = log()
    summary = optimize(replace(with_critic, critic="none"), letters())
    [row] = log()
    assert set(expected) - set(row) == {"value_loss", "value_clip_fraction", "explained_variance"}
    assert summary["optimizer_steps"] == 2


def test_metrics_without_an_encoder_are_refused(optimize: Callable[..., Any], config: PPOConfig) -> None:
    with pytest.raises(PreflowError, match="`encoder`: none given; 'scorer:relevance' compares meanings"):
        optimize(config, reward_weights={"scorer:relevance": 1.0})


def test_the_policy_and_its_log_are_written(
    optimize: Callable[..., Any],
    log: Callable[..., Any],
    config: PPOConfig,
    encoder_folder: Path,
    policy_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    RewardModel(str(encoder_folder), max_length=64).save(tmp_path / "reward_model")
    made: list[Policy] = []

    def noted(*arguments: Any, **settings: Any) -> Policy:
        made.append(Policy(*arguments, **settings))
        return made[0]

    monkeypatch.setattr(trainer, "Policy", noted)
    summary = optimize(replace(config, train_steps=3, epochs=2, minibatches=2))
    rows = log()
    assert [row["update"] for row in rows] == [1, 2, 3]
    assert [row["episodes"] for row in rows] == [8, 16, 24]
    assert set(rows[0]) == {
        "update", "episodes", "seconds", "reward_mean", "reward_std", "kl", "kl_k3", "entropy", "response_tokens_mean",
        "response_tokens_p95", "eos_rate", "policy_loss", "value_loss", "approx_kl", "clip_fraction",
        "value_clip_fraction", "explained_variance", "gradient_norm", "learning_rate", "kl_coeff", "skipped_steps",
        "sampler_gap", "nonfinite_scores", "seconds_sampling", "seconds_scoring", "seconds_evaluation",
        "reward/reward_model", "reward_clipped", "reward_length_correlation", "length_binned_gain", "truncation_rate",
        "distinct_3", "optimizer_steps", "left_out_steps",
    }  # fmt: skip
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-4), "the first episodes come from the reference"
    assert rows[2]["kl_k3"] > 0
    assert (summary["planned_steps"], summary["optimizer_steps"], summary["skipped_steps"]) == (12, 12, 0)
    assert summary["reward_mean"] == rows[-1]["reward_mean"]

    assert adapter_base(str(tmp_path / "tuned")) == str(policy_folder)
    tuned, base = load_causal_lm(str(tmp_path / "tuned")), load_causal_lm(str(policy_folder))
    with torch.no_grad():
        torch.testing.assert_close(tuned(IDS).logits, made[0].model(IDS).logits, atol=1e-4, rtol=1e-4)
        assert (tuned(IDS).logits - base(IDS).logits).abs().max() > 1e-3
    tokenizer = load_tokenizer(str(tmp_path / "tuned"))
    assert tokenizer.chat_template == load_tokenizer(str(policy_folder)).chat_template
    assert not list(tmp_path.glob(".*")), "nothing is left beside"


@pytest.mark.parametrize("times", [1, 4])
def test_only_train_prompts_are_used_each_once_a_pass(
    optimize: Callable[..., Any], config: PPOConfig, letters: Any, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    train = [row.prompt_id for row in questions(20) if split_of(row.prompt_id) == "train"]
    batches: list[list[str]] = []
    collect_rollout = trainer.collect_rollout

    def noted(prompts: Any, *arguments: Any, **settings: Any) -> Any:
        batches.append([row.prompt_id for row in prompts])
        return collect_rollout(prompts, *arguments, **settings)

    monkeypatch.setattr(trainer, "collect_rollout", noted)
    optimize(replace(config, train_steps=8, samples_per_prompt=times, epochs=1), letters())
    assert [len(batch) for batch in batches] == [8] * 8
    seen = [name for batch in batches for name in batch]
    assert seen[::times] == [seen[place] for place in range(times - 1, len(seen), times)], "samples stand together"
    distinct = seen[::times]
    assert sorted(distinct[: len(train)]) == sorted(train)
    assert set(distinct) == set(train)


def test_without_train_prompts_there_is_nothing_to_do(
    optimize: Callable[..., Any], config: PPOConfig, letters: Any, prompt_file: Callable[..., Path]
) -> None:
    with pytest.raises(PreflowError, match="prompts.jsonl: no prompt of the train split; give more prompts"):
        optimize(config, letters(), prompts=prompt_file(3, split="test"))


def test_the_learning_rate_warms_up_in_the_first_update_and_falls_to_nothing(
    optimize: Callable[..., Any], log: Callable[..., Any], config: PPOConfig, letters: Any
) -> None:
    settings = replace(config, train_steps=4, epochs=2, minibatches=2, learning_rate=0.008)
    optimize(settings, letters())
    assert [row["learning_rate"] for row in log()] == pytest.approx([0.002, 0.008, 0.008 * 2 / 3, 0.008 / 3])


def test_whole_weights_stay_near_the_reference_at_their_own_learning_rate(
    optimize: Callable[..., Any], log: Callable[..., Any], config: PPOConfig, letters: Any
) -> None:
    settings = replace(config, train_steps=2, epochs=2, minibatches=2, lora_rank=0, learning_rate=0.0)
    optimize(settings, letters())
    assert [row["learning_rate"] for row in log()] == pytest.approx([3e-6 / 4, 3e-6])
    near = log()[1]["kl_k3"]
    optimize(replace(settings, learning_rate=1e-3), letters())
    assert 0 < near < 1e-3 * log()[1]["kl_k3"]


def test_the_unit_of_a_function_does_not_matter(
    optimize: Callable[..., Any], log: Callable[..., Any], config: PPOConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(unit: float) -> list[float]:
        module = ModuleType("a_users_module")
        module.letters = lambda prompts, completions: [unit * text.count("e") for text in completions]  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "a_users_module", module)
        optimize(replace(config, train_steps=3, minibatches=2), reward_weights={"function:a_users_module:letters": 1.0})
        return [row["kl_k3"] for row in log()]

    assert run(1.0) == pytest.approx(run(30.0), rel=1e-3)


def test_the_same_seed_gives_the_same_run(
    optimize: Callable[..., Any], log: Callable[..., Any], config: PPOConfig, letters: Any
) -> None:
    def run(seed: int) -> list[dict[str, Any]]:
        optimize(replace(config, train_steps=2, seed=seed), letters())
        return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in log()]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_the_callers_random_state_is_left_alone(optimize: Callable[..., Any], config: PPOConfig, letters: Any) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    optimize(config, letters())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_code_path_is_logged_once(
    optimize: Callable[..., Any], config: PPOConfig, letters: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    optimize(replace(config, samples_per_prompt=2, lora_layers=1, train_steps=2), letters())
    assert capsys.readouterr().out.count("PPO: prompts shared, 1 of 2 layers cached\n") == 1
    optimize(replace(config, samples_per_prompt=1, lora_layers=0), letters())
    assert "PPO: prompts not shared, 0 of 2 layers cached\n" in capsys.readouterr().out


def test_an_update_with_a_score_that_is_no_number_is_reported(
    optimize: Callable[..., Any], log: Callable[..., Any], config: PPOConfig, letters: Any, tmp_path: Path
) -> None:
    class Broken(letters):  # type: ignore[misc]
        calls = 0

        def score(self, prompts: Any, responses: Any) -> torch.Tensor:
            self.calls += 1
            scores: torch.Tensor = super().score(prompts, responses)
            scores[: 3 if self.calls == 1 else 0] = math.nan
            return scores

    summary = optimize(replace(config, train_steps=2, minibatches=2), Broken())
    assert (summary["optimizer_steps"], summary["skipped_steps"], summary["planned_steps"]) == (4, 0, 4)
    assert [row["nonfinite_scores"] for row in log()] == [3, 0]
    assert all(math.isfinite(value) for row in log() for value in row.values())
    tuned = load_causal_lm(str(tmp_path / "tuned"))
    assert all(bool(torch.isfinite(parameter).all()) for parameter in tuned.parameters())


@pytest.mark.parametrize("times", [1, 4])
def test_a_simple_reward_is_learnt(
    optimize: Callable[..., Any], log: Callable[..., Any], config: PPOConfig, letters: Any, times: int
) -> None:
    settings = replace(
        config, train_steps=20, batch_size=32, samples_per_prompt=times, epochs=2, minibatches=4, microbatch_tokens=512,
        learning_rate=2e-2, kl_coeff=0.02, missing_eos_penalty=0.0, target_sequence_length=8,
    )  # fmt: skip
    optimize(settings, letters("e"))
    rows = log()
    before, after = ([row["reward_mean"] for row in part] for part in (rows[:3], rows[-3:]))
    assert sum(after) / 3 > sum(before) / 3 + 1, "answers hold more of the letter than before"
    assert rows[-1]["kl"] > 1


def test_an_adaptive_coefficient_holds_the_divergence_near_its_target(
    optimize: Callable[..., Any], log: Callable[..., Any], config: PPOConfig, letters: Any
) -> None:
    settings = replace(
        config, train_steps=40, batch_size=32, samples_per_prompt=1, epochs=2, minibatches=4, microbatch_tokens=512,
        learning_rate=3e-3, kl_coeff=0.1, missing_eos_penalty=0.0, target_sequence_length=8,
    )  # fmt: skip
    optimize(settings, letters("e"))
    free = log()
    optimize(replace(settings, kl_target=1.0, kl_horizon=32), letters("e"))
    held = log()
    reached = [sum(row["kl"] for row in rows[-5:]) / 5 for rows in (free, held)]
    assert reached[0] > 4, "a fixed coefficient lets it go"
    assert 0 < reached[1] < 2
    assert len({row["kl_coeff"] for row in held}) > 20


def test_planned_steps_are_taken_where_a_pass_over_the_prompts_ends_within_an_update(
    optimize: Callable[..., Any], config: PPOConfig, letters: Any
) -> None:
    train = sum(split_of(row.prompt_id) == "train" for row in questions(20))
    assert train % 8, "the last update of a pass takes prompts of the next one"
    summary = optimize(replace(config, train_steps=5, epochs=4, minibatches=4, microbatch_tokens=1), letters())
    assert summary["planned_steps"] == summary["optimizer_steps"] == 5 * 4 * 4


def test_a_run_that_reached_its_threshold_ends_and_says_why(
    optimize: Callable[..., Any], log: Callable[..., Any], config: PPOConfig, letters: Any
) -> None:
    summary = optimize(replace(config, train_steps=6, reward_threshold=0.0), letters())
    assert re.match("the mean score .* of 3 updates reached reward_threshold 0", summary["stop_reason"])
    assert [row["optimizer_steps"] for row in log()] == [1, 1, 0], (
        "the policy that reached it is the one that comes out"
    )
    assert summary["written_update"] == 2
    assert summary["optimizer_steps"] + summary["skipped_steps"] + summary["left_out_steps"] == summary["planned_steps"]


def test_a_sampler_that_does_not_follow_is_warned_of_once(
    optimize: Callable[..., Any], config: PPOConfig, letters: Any, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    settings = replace(config, train_steps=5, epochs=2, minibatches=2)
    assert optimize(settings, letters())["warnings"] == []
    monkeypatch.setattr(SamplingCopy, "follow", lambda copy: None)
    [warning] = optimize(settings, letters())["warnings"]
    assert warning.startswith("the sampler differs from the policy by more than an update changes it")
    assert capsys.readouterr().out.count(f"warning: {warning}") == 1


@pytest.mark.parametrize(
    ("kls", "written", "why"),
    [
        ([0.0, 1.0, 1.9, 5.0], 2, "the mean KL 2.63 of 3 updates exceeded kl_budget 2"),
        ([0.0, 1.0, 2.1, 1.8, 1.9], 4, ""),
        ([0.0, 1.0, 1.1, 1.2, 2.3], 3, ""),
        ([0.0, 7.0], 0, "the mean KL 3.50 of 2 updates exceeded kl_budget 2"),
    ],
)
def test_the_last_policy_within_the_budget_is_written(
    optimize: Callable[..., Any], config: PPOConfig, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    weights_after: list[dict[str, torch.Tensor]], kls: list[float], written: int, why: str,
) -> None:  # fmt: skip
    left = iter(kls)
    collect_rollout = trainer.collect_rollout

    def measured(*arguments: Any, **settings: Any) -> Any:
        kl = next(left)
        rollout = collect_rollout(*arguments, **settings)
        monkeypatch.setattr(type(rollout), "kl", property(lambda _: kl))
        return rollout

    monkeypatch.setattr(trainer, "collect_rollout", measured)
    summary = optimize(replace(config, train_steps=4, kl_budget=2.0), letters())
    assert next(left, None) is None, "the last policy's KL is measured too, unless the run ended with it"
    assert (summary["stop_reason"], summary["written_update"]) == (why, written)
    over = ["the last policy's KL of 2.30 exceeds kl_budget 2: it is not written"]
    assert summary["warnings"] == (over if kls[-1] == 2.3 else [])
    saved = load_file(tmp_path / "tuned/adapter_model.safetensors")
    for name, value in saved.items():
        assert torch.equal(value, weights_after[written]["model." + name.replace(".weight", ".default.weight")])
