from collections.abc import Callable
from dataclasses import replace

import pytest

from preflow.evaluation.headline import make_headline, verdict_of
from preflow.evaluation.report_data import ReportData
from preflow.evaluation.win_rates import WinRate
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
    assert verdict_of(low, high) == verdict


def test_a_clear_win_is_said_with_judge_count_and_interval(make_data: MakeData) -> None:
    headline = make_headline(make_data(win_rates={"label_score": BETTER}))
    assert headline.verdict == "better"
    assert headline.line == "The tuned model is better than the base model"
    assert headline.sentence.replace("\u202f", " ") == (
        "By the label score it wins 70.0 % of 12 test prompts (95 % interval 60.0 to 80.0 %)."
    )


def test_a_win_that_a_monitor_pays_for_has_reservations(make_data: MakeData) -> None:
    headline = make_headline(make_data(win_rates={"label_score": BETTER, "calm": WORSE}))
    assert headline.verdict == "better"
    assert headline.line.endswith("with reservations")


def test_an_interval_over_one_half_is_said_to_show_nothing(make_data: MakeData) -> None:
    headline = make_headline(make_data(win_rates={"label_score": UNCLEAR}))
    assert headline.verdict == "unclear"
    assert "includes one half" in headline.sentence


def test_a_loss_is_called_worse(make_data: MakeData) -> None:
    assert "worse than the base model" in make_headline(make_data(win_rates={"label_score": WORSE})).line


def test_no_scored_prompt_gives_no_verdict(make_data: MakeData) -> None:
    assert make_headline(make_data(win_rates={})).line.startswith("No verdict")
    assert make_headline(make_data(win_rates={}, judge_roles={})).line.startswith("No verdict")


def cautions(data: ReportData) -> str:
    return " ".join(make_headline(data).cautions).replace("\u202f", " ")


def test_a_fallen_monitor_is_named(make_data: MakeData) -> None:
    text = cautions(make_data(win_rates={"label_score": BETTER, "calm": WORSE}))
    assert "The monitor “calm” fell: by it the tuned model wins only 30.0 % (20.0 to 40.0 %)." in text
    assert "monitor" not in cautions(make_data(win_rates={"label_score": BETTER, "calm": UNCLEAR}))


def test_a_gain_that_vanishes_at_equal_length_is_named(make_data: MakeData) -> None:
    vanishing = replace(BETTER, length_controlled=0.5, length_controlled_low=0.4, length_controlled_high=0.6)
    assert "may be a change of length alone" in cautions(make_data(win_rates={"label_score": vanishing}))


def test_lengths_that_always_differ_one_way_are_named(make_data: MakeData) -> None:
    # Every tuned answer of the sample has 40 tokens, every base answer 64.
    text = cautions(make_data(win_rates={"label_score": BETTER}))
    assert "shorter on 12 and longer on 0 of 12 prompts" in text


def test_a_gain_that_is_only_ending_properly_is_named(make_data: MakeData) -> None:
    wins = {"label_score": BETTER, "label_score_without_ended_properly": UNCLEAR}
    roles = dict.fromkeys(wins, "label score")
    assert "little more than to stop in time" in cautions(make_data(win_rates=wins, judge_roles=roles))


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


def test_a_verdict_by_the_reward_model_alone_is_said_to_prove_little(make_data: MakeData) -> None:
    data = make_data(win_rates={"reward_model": BETTER}, judge_roles={"reward_model": "reward model"})
    assert "a win by it proves little" in cautions(data)


def test_a_reward_model_no_better_than_a_rule_is_named(make_data: MakeData) -> None:
    data = make_data(reward_summary={"accuracy": 0.75, "accuracy_low": 0.7, "baseline_longer": 0.72})
    assert "not clearly more accurate than always choosing the longer answer (72.0 %)" in cautions(data)


def test_without_labels_the_reward_model_decides_and_monitors_only_warn(make_data: MakeData) -> None:
    roles = {"calm": "monitor", "reward_model": "reward model"}
    data = make_data(win_rates={"calm": WORSE, "reward_model": BETTER}, judge_roles=roles)
    assert make_headline(data).sentence.startswith("By the reward model it wins 70.0")
    assert "The monitor “calm” fell" in cautions(data)
