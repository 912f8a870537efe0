from collections.abc import Callable

from preflow.report.answers import answer_categories, biggest_changes
from preflow.report.data import ReportData
from preflow.rows import Evaluation

MakeData = Callable[..., ReportData]
MakeRow = Callable[..., Evaluation]


def test_answers_are_grouped_and_the_first_stand_open(make_data: MakeData, make_row: MakeRow) -> None:
    rows = [make_row(n, category="a" if n % 2 else "b") for n in range(6)]
    first, second = answer_categories(make_data(evaluations=rows, examples=4))
    assert (first.name, second.name) == ("b", "a")
    assert [example.prompt_id for example in first.examples] == ["id0", "id2", "id4"]
    assert [example.open for example in (*first.examples, *second.examples)] == [True] * 4 + [False] * 2
    assert second.open


def test_a_category_counts_who_won(make_data: MakeData, make_row: MakeRow) -> None:
    rows = [make_row(0), make_row(1, tuned=0.5), make_row(2, tuned=0.1), make_row(3, tuned=None), make_row(4)]
    (category,) = answer_categories(make_data(evaluations=rows))
    assert (category.wins, category.ties, category.losses) == (2, 1, 1)
    assert category.examples[3].winner == "unscored"
    assert category.examples[3].gain is None


def test_answers_without_a_category(make_data: MakeData, make_row: MakeRow) -> None:
    alone = answer_categories(make_data(evaluations=[make_row(0, category=None)]))
    mixed = answer_categories(make_data(evaluations=[make_row(0), make_row(1, category=None)]))
    assert [category.name for category in alone] == ["All prompts"]
    assert [category.name for category in mixed] == ["how-to", "Without category"]


def test_a_side_tells_length_scores_and_whether_it_was_cut_off(make_data: MakeData) -> None:
    base, tuned = answer_categories(make_data())[0].examples[0].sides
    assert (base.model, base.tokens, base.cut_off, base.score) == ("base", 64, True, "0.500")
    assert (tuned.cut_off, tuned.scores) == (False, (("Calm", "0.500"),))


def test_a_conversation_is_summed_up_by_its_last_question(make_data: MakeData, make_row: MakeRow) -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "One\ntwo?"}]
    example = answer_categories(make_data(evaluations=[make_row(0, prompt=prompt)]))[0].examples[0]
    assert example.summary == "One two?"
    assert not example.whole


def test_the_biggest_changes_are_the_widest_gaps(make_data: MakeData, make_row: MakeRow) -> None:
    rows = [
        make_row(0),
        make_row(1, tuned=0.9),
        make_row(2, tuned=0.4),
        make_row(3, tuned=0.2),
        make_row(4, tuned=None),
    ]
    won, lost = biggest_changes(make_data(evaluations=rows))
    assert won is not None and won.prompt_id == "id1"
    assert lost is not None and lost.prompt_id == "id3"


def test_without_a_loss_there_is_no_biggest_loss(make_data: MakeData) -> None:
    won, lost = biggest_changes(make_data())
    assert won is not None
    assert lost is None
