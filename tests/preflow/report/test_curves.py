import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflow.report.curves import BOTTOM, CHARTS, HEIGHT, LEFT, RIGHT, TOP, WIDTH, nice_ticks, training_charts

MakeLog = Callable[[int], list[dict[str, float]]]


def test_no_updates_give_no_charts() -> None:
    assert training_charts([]) == []


def test_one_update_is_a_dot_in_the_middle(make_log: MakeLog) -> None:
    charts = training_charts(make_log(1))
    assert len(charts) == len(CHARTS)
    for chart in charts:
        assert chart.x_ticks == (((LEFT + WIDTH - RIGHT) / 2, "update 1", "middle"),)
        for series in chart.series:
            assert series.lines == ()
            assert [x for x, _ in series.dots] == [(LEFT + WIDTH - RIGHT) / 2]


def test_two_updates_are_a_line_from_edge_to_edge(make_log: MakeLog) -> None:
    reward = training_charts(make_log(2))[0]
    # 0.1 and 0.2 on ticks 0.10, 0.15, 0.20: from the lower left corner to the upper right.
    assert reward.series[0].lines == (f"{LEFT}.0,{HEIGHT - BOTTOM}.0 {WIDTH - RIGHT}.0,{TOP}.0",)
    assert (reward.first, reward.last, reward.lowest, reward.highest) == ("0.100", "0.200", "0.100", "0.200")


def test_two_hundred_updates_stay_inside_the_picture(make_log: MakeLog) -> None:
    for chart in training_charts(make_log(200)):
        for series in chart.series:
            points = [tuple(map(float, point.split(","))) for point in series.lines[0].split()]
            assert len(points) == 200
            assert len(series.dots) == 1
            assert all(LEFT <= x <= WIDTH - RIGHT and TOP <= y <= HEIGHT - BOTTOM for x, y in points)


def test_shares_are_shown_in_per_cent(make_log: MakeLog) -> None:
    chart = next(chart for chart in training_charts(make_log(3)) if chart.title == "Ended by themselves")
    assert [label for _, label in chart.y_ticks] == ["0", "50", "100"]
    assert chart.last == "50.0"


def test_missing_values_break_the_line() -> None:
    log = [{"update": n, "reward_mean": value} for n, value in enumerate([1.0, 2.0, None, math.nan, 3.0, 4.0], 1)]
    (chart,) = training_charts(log)
    assert len(chart.series[0].lines) == 2
    assert len(chart.series[0].dots) == 4


def test_a_column_without_numbers_leaves_its_chart_out() -> None:
    assert [chart.title for chart in training_charts([{"update": 1, "kl": 0.5, "entropy": None}])] == [
        "KL from the start"
    ]


def test_rows_without_an_update_number_count_from_one() -> None:
    (chart,) = training_charts([{"kl": 0.5}, {"kl": 0.7}])
    assert [label for _, label, _ in chart.x_ticks] == ["update 1", "2"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (-0.12, 1.16, [-0.5, 0.0, 0.5, 1.0, 1.5]),
        (44.7, 64.0, [40.0, 50.0, 60.0, 70.0]),
        (0.0, 0.0, [-1.0, 0.0, 1.0]),
        (50.0, 50.0, [45.0, 50.0, 55.0]),
    ],
)
def test_ticks_are_round_numbers_around_the_values(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_always_enclose_the_values(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    slack = 1e-6 * (ticks[1] - ticks[0])
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + width - slack
    assert 2 <= len(ticks) <= 6


def test_validation_is_an_unbroken_line_over_how_far_the_model_has_gone() -> None:
    log: list[dict[str, float]] = [{"update": number} for number in range(1, 8)]
    for place, reward, coherence, kl in ((0, 0.1, 0.4, -0.01), (3, 0.2, 0.3, 9.0), (6, 0.3, math.nan, 4.0)):
        log[place] |= {"validation/reward": reward, "validation/coherence": coherence, "kl": kl}
        log[place] |= {"validation/falling_monitors": 0.0}
    _, reward_chart, monitors = training_charts(log)
    assert (reward_chart.title, len(reward_chart.series[0].lines)) == ("Reward on validation prompts", 1)
    assert [label for _, label, _ in reward_chart.x_ticks] == ["√KL 0.0", "3.0"]
    (first, second, third) = reward_chart.series[0].dots
    assert (second[0] - first[0]) / (third[0] - first[0]) == pytest.approx(2 / 3, abs=1e-3), "in the order of the KL"
    assert second[1] < third[1], "the reward was highest before the end"
    assert [series.name for series in monitors.series] == ["coherence"]
    assert len(monitors.series[0].dots) == 2
