from collections.abc import Callable

from preflow.evaluation.names import name_of
from preflow.report.data import ReportData
from preflow.report.tables import judge_rows, score_rows, text_rows
from preflow.rows import Evaluation

MakeData = Callable[..., ReportData]
MakeRow = Callable[..., Evaluation]


def test_judges_come_by_role(make_data: MakeData) -> None:
    roles = {
        "reward_model": "reward model",
        "calm": "monitor",
        "relevance": "label metric",
        "label_score": "label score",
    }
    rows = judge_rows(make_data(judge_roles=roles))
    assert [row.judge for row in rows] == ["label_score", "relevance", "calm", "reward_model"]


def test_a_judge_without_scores_has_a_row_without_a_win_rate(make_data: MakeData) -> None:
    rows = judge_rows(make_data(judge_roles={"label_score": "label score", "absent": "monitor"}))
    assert rows[1].win is None
    assert rows[1].raw == rows[1].counts == "–"


def test_each_model_and_the_change_with_its_interval(make_data: MakeData) -> None:
    (row,) = score_rows(make_data())
    # Every prompt of the sample gains 0.3, so the bootstrap has no spread.
    assert (row.base, row.tuned, row.change, row.interval) == ("0.500", "0.800", "+0.300", "+0.300 to +0.300")
    assert row.finding == "better"


def test_a_fall_is_worse_and_a_small_change_unclear(make_data: MakeData, make_row: MakeRow) -> None:
    fallen = make_data(evaluations=[make_row(n, tuned=0.1) for n in range(5)], tuned={"label_score": 0.1})
    assert score_rows(fallen)[0].finding == "worse"
    mixed = make_data(evaluations=[make_row(n, tuned=0.5 + (-1) ** n * 0.1) for n in range(20)])
    assert score_rows(mixed)[0].finding == "unclear"


def test_lengths_and_shares_have_their_own_units(make_data: MakeData) -> None:
    rows = {row.key: row for row in text_rows(make_data())}
    assert (rows["response_tokens"].base, rows["response_tokens"].change) == ("64.0", "−24.0")
    assert (rows["eos_rate"].tuned, rows["eos_rate"].change) == ("100.0\u202f%", "+100.0 points")
    assert rows["kl"].tuned == "3.500"


def test_a_measure_that_is_null_shows_a_dash(make_data: MakeData) -> None:
    row = next(row for row in text_rows(make_data(kl=None)) if row.key == "rouge_l")
    assert (row.base, row.tuned, row.change, row.interval) == ("–", "–", "–", "")


def test_null_scores_are_left_out_of_a_change(make_data: MakeData, make_row: MakeRow) -> None:
    data = make_data(evaluations=[make_row(0), make_row(1), make_row(2, tuned=None)])
    assert score_rows(data)[0].interval == "+0.300 to +0.300"


def test_further_measures_are_shown_too(make_data: MakeData) -> None:
    rows = {row.key: row for row in text_rows(make_data(base={"novel_measure": 0.5}, tuned={"novel_measure": 12.0}))}
    assert (rows["novel_measure"].name, rows["novel_measure"].base) == ("Novel measure", "0.50")


def test_names_for_readers() -> None:
    assert name_of("label_score_without_ended_properly") == "Label score without “ended properly”"
    assert name_of("eos_rate") == "Answers that end by themselves"
