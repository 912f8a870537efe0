"""A policy is promoted if every condition holds; a missing figure fails its condition."""

import copy
from typing import Any

import pytest

from preflow.evaluation.verdict import PromotionConfig, Verdict, reach_verdict

ENDING = "label_score_without_ended_properly"
JUDGES = {"label_score": "label score", ENDING: "label score", "relevance": "label metric", "calm": "monitor"}


def rate(win_rate: float = 0.65, low: float = 0.55, high: float = 0.75) -> dict[str, float]:
    controlled = {"length_controlled": win_rate, "length_controlled_low": low, "length_controlled_high": high}
    return {"win_rate": win_rate, "low": low, "high": high, **controlled}


def good() -> dict[str, Any]:
    """A summary of which every condition holds."""
    judges = {judge: {"role": role, "maximized": False} for judge, role in JUDGES.items()}
    return {
        "lead": "label_score",
        "passed_over": {},
        "judges": {**judges, "reward_model": {"role": "reward model", "maximized": True}},
        "temperatures": {at: {judge: rate() for judge in [*JUDGES, "reward_model"]} for at in ("0", "0.7")},
        "best_base": {"temperature": 0.5, **rate()},
        "reward_model_accuracy": 0.9,
        "baseline_longer": 0.5,
        "baseline_similarity": 0.8,
        "kl_high": 6.0,
    }


def verdict(changes: dict[tuple[str, ...], Any], **thresholds: float) -> Verdict:
    """The verdict on the good summary after changes by path."""
    summary = copy.deepcopy(good())
    for (*path, last), value in changes.items():
        place = summary
        for key in path:
            place = place[key]
        place[last] = value
    return reach_verdict(summary, PromotionConfig(**thresholds))


def test_all_conditions_hold() -> None:
    found = verdict({})
    assert found.promoted
    assert found.lead == "label_score"
    assert found.reason == "Promoted: all 12 conditions hold."
    assert all(reason.startswith("holds: ") for reason in found.reasons)


AT = "temperatures"
LC = "length_controlled"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({(AT, "0", "label_score"): rate(0.55, 0.5, 0.6)}, "greedily the policy wins 55.0 %"),
        ({(AT, "0.7", "label_score"): rate(0.55, 0.49, 0.6)}, "at temperature 0.7 the policy wins 55.0 %"),
        ({(AT, "0", "label_score", f"{LC}_high"): 0.49}, "greedily it wins 65.0 % of prompts (95 % interval 55.0 to"),
        ({(AT, "0.7", ENDING): rate(0.4, 0.3, 0.49)}, "at temperature 0.7 it wins 40.0 %"),
        ({(AT, "0", "calm"): rate(0.4, 0.3, 0.49)}, "by the monitor “calm”"),
        ({("best_base",): {"temperature": 0.5, **rate(0.55, 0.5, 0.6)}}, "against the base model at temperature 0.5"),
        ({("reward_model_accuracy",): 0.8}, "the reward model picks the preferred answer 80.0 %"),
        ({("baseline_longer",): 0.95}, "95.0 % for always choosing the longer answer"),
        ({("kl_high",): 10.01}, "at most 10.01 nats per answer"),
        ({("lead",): None, ("passed_over",): {"label_score": "was maximized by PPO"}}, "no judge may lead (the label"),
    ],
)
def test_one_failing_condition_is_enough_and_is_the_reason(changes: dict[tuple[str, ...], Any], words: str) -> None:
    found = verdict(changes)
    assert not found.promoted
    assert words in found.reason.replace("\u202f", " ")
    assert sum(condition.holds is False for condition in found.conditions) == 1


@pytest.mark.parametrize(
    ("changes", "conditions"),
    [
        ({(AT, "0", "label_score"): {}}, 2),
        ({(AT, "0.7", "calm"): {}}, 1),
        ({(AT, "0", ENDING): {}}, 1),
        ({("best_base",): {"temperature": None, "win_rate": None, "low": None, "high": None}}, 1),
        ({("reward_model_accuracy",): None}, 1),
        ({("baseline_similarity",): None}, 1),
        ({("kl_high",): None}, 1),
        ({("kl_high",): float("nan")}, 1),
    ],
)
def test_a_missing_figure_fails_its_condition(changes: dict[tuple[str, ...], Any], conditions: int) -> None:
    found = verdict(changes)
    assert not found.promoted
    assert sum(condition.holds is False for condition in found.conditions) == conditions


def test_what_a_pipeline_does_not_have_is_not_applicable() -> None:
    summary = good()
    for judge in ("calm", ENDING):
        del summary["judges"][judge]
    summary["judges"]["reward_model"]["maximized"] = False
    summary["reward_model_accuracy"] = None
    found = reach_verdict(summary, PromotionConfig())
    assert found.promoted
    assert sum(reason.startswith("not applicable: ") for reason in found.reasons) == 5


def test_a_monitor_that_leads_is_not_its_own_monitor() -> None:
    found = verdict({("lead",): "calm", (AT, "0", "calm"): rate(0.6, 0.51, 0.7)})
    assert found.promoted
    assert not any("by the monitor" in reason for reason in found.reasons)


def test_uncertain_losses_at_equal_length_and_by_monitors_do_not_stop_a_promotion() -> None:
    even = rate(0.45, 0.4, 0.5)
    assert verdict(
        {(AT, "0", "calm"): even, (AT, "0", ENDING): even, (AT, "0", "label_score", f"{LC}_high"): 0.5}
    ).promoted


def test_thresholds_are_the_users() -> None:
    assert not verdict({}, min_win_rate=0.55).promoted
    assert verdict({("kl_high",): 20.0}, max_kl=20.0).promoted


def test_the_reward_models_own_win_is_no_condition() -> None:
    assert verdict({(AT, "0", "reward_model"): rate(0.1, 0.0, 0.2)}).promoted
