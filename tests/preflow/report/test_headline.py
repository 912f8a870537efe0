from collections.abc import Callable

import pytest

from preflow.evaluation.win_rates import WinRate
from preflow.report.data import ReportData
from preflow.report.headline import finding_of, make_headline
from preflow.rows import Evaluation

MakeData = Callable[..., ReportData]
MakeRow = Callable[..., Evaluation]
BETTER = WinRate(0.7, 0.6, 0.8, 0.68, 0.58, 0.78, 8, 0, 4)
UNCLEAR = WinRate(0.55, 0.45, 0.65, 0.54, 0.44, 0.64, 7, 0, 5)
WORSE = WinRate(0.3, 0.2, 0.4, 0.32, 0.22, 0.42, 4, 0, 8)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.51, 0.7, "better"), (0.5, 0.7, "unclear"), (0.4, 0.6, "unclear"), (0.2, 0.5, "unclear"), (0.2, 0.49, "worse")],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low: float, high: float, verdict: str) -> None:
    assert finding_of(low, high) == verdict


def test_a_promotion_is_said_with_judge_count_and_interval(make_data: MakeData) -> None:
    headline = make_headline(make_data(win_rates={"label_score": BETTER, "calm": UNCLEAR}))
    assert headline.line == "Promoted: better than the base model"
    assert headline.sentence.replace("\u202f", " ") == (
        "By the label score the tuned model's greedy answers win 70.0 % of 12 test prompts "
        "(95 % interval 60.0 to 80.0 %)."
    )


@pytest.mark.parametrize(
    ("wins", "line"),
    [
        ({"label_score": BETTER, "calm": WORSE}, "Not promoted, although it wins greedily"),
        ({"label_score": UNCLEAR, "calm": UNCLEAR}, "Not promoted: no clear difference from the base model"),
        ({"label_score": WORSE, "calm": UNCLEAR}, "Not promoted: worse than the base model"),
        ({}, "Not promoted: no judge can be trusted"),
    ],
)
def test_what_is_not_promoted_says_why_in_short(make_data: MakeData, wins: dict[str, WinRate], line: str) -> None:
    assert make_headline(make_data(win_rates=wins)).line == line


def test_without_a_leading_judge_the_reason_is_the_sentence(make_data: MakeData) -> None:
    found = make_headline(make_data(lead=None, passed_over={"label_score": "was maximized by PPO"}))
    assert found.line == "Not promoted: no judge can be trusted"
    assert "no judge may lead (the label score was maximized by PPO)" in found.sentence


def cautions(data: ReportData) -> str:
    return " ".join(make_headline(data).cautions).replace("\u202f", " ")


def test_lengths_that_always_differ_one_way_are_named(make_data: MakeData) -> None:
    # Every tuned answer of the sample has 40 tokens, every base answer 64.
    text = cautions(make_data(win_rates={"label_score": BETTER}))
    assert "shorter on 12 and longer on 0 of 12 prompts" in text


def test_prompts_without_a_score_are_counted(make_data: MakeData, make_row: MakeRow) -> None:
    rows = [make_row(0), make_row(1, base=None), make_row(2, tuned=None)]
    assert "On 2 of 3 prompts the label score of one or both answers is missing" in cautions(
        make_data(evaluations=rows)
    )


def test_a_reward_model_that_alone_prefers_the_tuned_model_is_named(make_data: MakeData) -> None:
    roles = {"label_score": "label score", "reward_model": "reward model"}
    wins = {"label_score": UNCLEAR, "reward_model": BETTER}
    assert "exploited the reward model's mistakes" in cautions(make_data(win_rates=wins, judge_roles=roles))
    assert "exploited" not in cautions(make_data(win_rates={**wins, "label_score": BETTER}, judge_roles=roles))


def test_a_reward_model_no_better_than_a_rule_is_named(make_data: MakeData) -> None:
    data = make_data(reward_summary={"accuracy": 0.75, "accuracy_low": 0.7, "baseline_longer": 0.72})
    assert "not clearly more accurate than always choosing the longer answer (72.0 %)" in cautions(data)
