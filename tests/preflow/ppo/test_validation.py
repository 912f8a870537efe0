"""Monitors that fall while the reward rises are noticed, and the best policy is kept."""

import json
import math
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
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from preflow.ppo.prefix_packing import unpacked
from preflow.ppo.reward_sources import Source
from preflow.ppo.sampling_copy import SamplingCopy
from preflow.ppo.trainer import ppo_optimize
from preflow.ppo.validation import Validation, falling_monitors, load_validation, means
from preflow.scoring.registry import remembering
from tests.preflow.ppo.settings import replace
from tests.tiny import questions

pytestmark = pytest.mark.usefixtures("exact")
NAN = math.nan
RISING, LEVEL, FALLING = [1.0, 1.1, 0.9, 1.0], [0.1, -0.1, 0.1, -0.1], [-1.0, -1.1, -0.9, -1.0]
ZERO = [0.0] * 4


@pytest.mark.parametrize(
    ("reward", "monitor", "expected"),
    [
        (RISING, FALLING, ["coherence"]),
        (RISING, LEVEL, []),
        (RISING, RISING, []),
        (LEVEL, FALLING, []),
        (FALLING, FALLING, []),
        (RISING, [-1.0, -1.1, NAN, -0.9], ["coherence"]),
        (RISING, [-1.0, NAN, NAN, NAN], []),
    ],
)
def test_a_monitor_falls_only_where_the_reward_rises(
    reward: list[float], monitor: list[float], expected: list[str]
) -> None:
    before = {"reward": ZERO, "coherence": ZERO}
    assert falling_monitors({"reward": reward, "coherence": monitor}, before) == expected


def test_surely_means_two_standard_errors() -> None:
    # Mean 1 with a standard deviation of 2 / sqrt(3) among four: an error of 1 / sqrt(3), so 1.73 errors away.
    almost = [0.0, 2.0, 0.0, 2.0]
    falling = [-value for value in almost]
    assert falling_monitors({"reward": RISING, "m": falling}, {"reward": ZERO, "m": ZERO}) == []
    surely = [0.0, 2.0, 0.0, 2.0, 1.0, 1.0]  # an error of sqrt(4 / 5 / 6), so 2.74 errors away
    six = [0.0] * 6
    assert falling_monitors(
        {"reward": [1.0, 2.0] * 3, "m": [-value for value in surely]}, {"reward": six, "m": six}
    ) == ["m"]


def test_means_leave_out_what_says_nothing() -> None:
    assert means({"reward": [1.0, 2.0], "m": [NAN, 3.0], "silent": [NAN, NAN]}) == {
        "validation/reward": 1.5, "validation/m": 3.0
    }  # fmt: skip


def test_the_same_policy_is_judged_the_same(
    make_policy: Callable[..., Policy], policy_folder: Path, tokenizer: Any, config: PPOConfig
) -> None:
    sources = {"length": Source(2.0, lambda answers: torch.tensor([float(len(text)) for text in answers.responses]))}
    validation = Validation(questions(5, references=True), sources, ["repetition", "ended_properly"], remembering(None))
    policy = make_policy()
    copy = SamplingCopy(str(policy_folder), policy)
    first = validation.scores(policy, copy, tokenizer, config)
    assert first == validation.scores(policy, copy, tokenizer, config)
    assert set(first) == {"reward", "repetition", "ended_properly"}
    assert all(len(values) == 5 for values in first.values())
    copy.follow()
    assert first != validation.scores(policy, copy, tokenizer, config)


def test_the_kl_of_the_answers_is_that_of_plain_forward_passes(
    make_policy: Callable[..., Policy], policy_folder: Path, tokenizer: Any, config: PPOConfig, by_row: Any
) -> None:
    validation = Validation(questions(3), {"none": Source(1.0, lambda _: torch.zeros(3))}, [], remembering(None))
    policy, samples = make_policy(), []
    copy = SamplingCopy(str(policy_folder), policy)
    copy.follow()
    answer = copy.answer

    def noted(*arguments: Any) -> Any:
        samples.append(answer(*arguments)[0])
        return samples[0], ["an answer"] * 3

    copy.answer = noted  # type: ignore[method-assign]
    settings = replace(config, eval_steps=1, keep_best=True)
    found = validation.scores(policy, copy, tokenizer, settings)["kl"]
    episodes = unpacked(samples[0].ids, samples[0].prompt_mask, samples[0].response_mask)
    with policy.model.disable_adapter():
        reference = by_row(policy.model, episodes)
    expected = [
        float((one - other).sum()) for one, other in zip(by_row(policy.model, episodes), reference, strict=True)
    ]
    assert found == pytest.approx(expected, abs=1e-4)
    assert max(map(abs, found)) > 1e-2


def test_what_is_trained_on_cannot_watch(config: PPOConfig) -> None:
    with pytest.raises(PreflowError, match="`monitors`: 'repetition' is part of the reward; a monitor must not be"):
        load_validation(
            [], {"scorer:repetition": Source(1.0, lambda _: torch.zeros(0))}, ["repetition"], remembering(None), config
        )
    with pytest.raises(PreflowError, match="metric 'beauty' is not known"):
        load_validation([], {}, ["beauty"], remembering(None), config)


def test_the_best_policy_cannot_be_kept_without_validation_prompts(config: PPOConfig) -> None:
    keeping = replace(config, eval_steps=1, keep_best=True)
    with pytest.raises(PreflowError, match="`keep_best`: no prompt is in the validation split"):
        load_validation([], {}, [], remembering(None), keeping)


@pytest.fixture
def run(
    policy_folder: Path, encoder_folder: Path, prompt_file: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]:  # fmt: skip
    """Trains for more of one letter, whose repetition the monitor dislikes; gives the summary and the log."""
    module = ModuleType("a_users_module")
    module.letters = lambda prompts, completions: [float(text.count("e")) for text in completions]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_users_module", module)
    prompts = prompt_file(60)

    def start(config: PPOConfig, **given: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        summary = ppo_optimize(
            prompts=given.pop("prompts", prompts), model=str(policy_folder), reward_model=None,
            output=tmp_path / "tuned",
            training_log=tmp_path / "log.jsonl", config=config, encoder=str(encoder_folder),
            reward_weights={"function:a_users_module:letters": 1.0}, monitors=["ended_properly"], **given,
        )  # fmt: skip
        return summary, [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]

    return start


def test_validation_rows_stand_in_the_log(run: Callable[..., Any], config: PPOConfig) -> None:
    summary, rows = run(replace(config, train_steps=5, eval_steps=2, eval_prompts=4, normalize_reward=False))
    assert [row["update"] for row in rows if "validation/reward" in row] == [1, 3, 5]
    assert {name for name in rows[0] if name.startswith("validation/")} == {
        "validation/reward", "validation/ended_properly", "validation/falling_monitors"
    }  # fmt: skip
    assert summary["validation/reward"] != rows[-1]["validation/reward"], "the last policy is judged too"
    assert (summary["written_update"], summary["warnings"]) == (5, [])


def test_a_run_says_that_there_is_nothing_to_validate_with(
    run: Callable[..., Any],
    config: PPOConfig,
    prompt_file: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train = tmp_path / "train.jsonl"
    rows = prompt_file(20).read_text().splitlines(keepends=True)
    train.write_text("".join(row for row in rows if split_of(json.loads(row)["prompt_id"]) == "train"))
    told = "`eval_steps` without effect as no prompt is in the validation split"
    run(replace(config, train_steps=1, eval_steps=1))
    assert told not in capsys.readouterr().out
    run(replace(config, train_steps=1, eval_steps=1), prompts=train)
    assert told in capsys.readouterr().out


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Fixes what the validation prompts score, look by look."""

    def fix(*looks: tuple[float, float, float]) -> None:
        left = iter(looks)

        def scores(*_: Any) -> dict[str, list[float]]:
            reward, monitor, kl = next(left)
            return {"reward": [reward, reward + 0.1], "kl": [kl, kl], "ended_properly": [monitor, monitor + 0.1]}

        monkeypatch.setattr(Validation, "scores", scores)

    return fix


def test_a_hacked_reward_is_warned_of(
    run: Callable[..., Any], config: PPOConfig, judged: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    judged((0.0, 5.0, 0.0), (1.0, 5.0, 9.0), (2.0, 4.0, 9.0), (3.0, 3.0, 9.0))
    summary, rows = run(replace(config, train_steps=3, eval_steps=1))
    assert [row["validation/falling_monitors"] for row in rows] == [0, 0, 1]
    assert summary["warnings"] == [
        f"after update {update} the reward is higher and ended_properly lower than at the start" for update in (2, 3)
    ]
    assert f"warning: {summary['warnings'][0]}" in capsys.readouterr().out


# Reward, monitor and KL after 0 to 3 updates. `kl_coeff` is 0.05: 10 nats cost 0.5.
@pytest.mark.parametrize(
    ("looks", "settings", "best"),
    [
        (((0, 1, 0), (2, 1, 0), (1, 1, 0), (1.5, 1, 0)), {}, 1),
        (((0, 1, 0), (1, 1, 0), (2, 0, 0), (1.5, 1, 0)), {}, 3),  # a monitor speaks against update 2
        (((0, 1, 0), (-1, 1, 0), (-1, 1, 0), (-1, 1, 0)), {}, 0),
        (((0, 1, 0), (1, 1, 2), (1.3, 1, 7), (1.3, 1, 9)), {}, 2),  # 0, 0.9, 0.95, 0.85
        (((0, 1, 0), (1, 1, 2), (1.3, 1, 9), (1.4, 1, 11)), {}, 1),  # 0, 0.9, 0.85, 0.85
        (((0, 1, 0), (1, 1, 2), (9, 1, 7), (1.2, 1, 5)), {"kl_budget": 6.0}, 3),
        (((0, 1, 0), (1, 1, 2), (1.3, 1, 9), (1, 1, 0)), {"normalize_reward": True}, 2),
    ],
)
def test_the_best_policy_is_kept(
    run: Callable[..., Any], config: PPOConfig, judged: Callable[..., None], tmp_path: Path,
    weights_after: list[dict[str, torch.Tensor]], looks: tuple[tuple[float, float, float], ...], settings: Any,
    best: int,
) -> None:  # fmt: skip
    judged(*looks)
    summary, _ = run(
        replace(config, train_steps=3, eval_steps=1, keep_best=True, **{"normalize_reward": False, **settings})
    )
    assert summary["written_update"] == best
    saved = load_file(tmp_path / "tuned/adapter_model.safetensors")
    for name, value in saved.items():
        inside = "model." + name.replace(".weight", ".default.weight")
        assert [torch.equal(value, weights[inside]) for weights in weights_after].index(
            True
        ) == best or "lora_A" in name
