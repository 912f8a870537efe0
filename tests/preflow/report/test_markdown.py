from collections.abc import Callable

from preflow.report.data import ReportData
from preflow.report.markdown import render_markdown

MakeData = Callable[..., ReportData]


def test_it_holds_the_finding_and_both_tables(make_data: MakeData) -> None:
    text = render_markdown(make_data())
    assert text.startswith("## Promoted: better than the base model\n")
    assert "| Label score | label score | 100.0 % |" in text
    assert "| Answer length, tokens | 64.0 | 40.0 | −24.0 |" in text


def test_every_table_line_has_as_many_cells_as_its_head(make_data: MakeData) -> None:
    tables: dict[int, set[int]] = {}
    for block, part in enumerate(render_markdown(make_data()).split("\n\n")):
        if part.startswith("|"):
            tables[block] = {line.count("|") for line in part.splitlines()}
    assert len(tables) == 3
    assert all(len(widths) == 1 for widths in tables.values())


def test_names_cannot_break_out_of_their_cell(make_data: MakeData) -> None:
    data = make_data(
        base_model="<script>a</script>|`b`\n# c", judge_roles={"label_score": "label score", "x|y": "monitor"}
    )
    text = render_markdown(data)
    assert "<script>" not in text
    assert "\n# c" not in text
    assert "X\\|y" in text


def test_a_run_without_judges_updates_or_summary_has_a_short_form(make_data: MakeData) -> None:
    data = make_data(
        judge_roles={},
        win_rates={},
        base={},
        tuned={},
        kl=None,
        kl_high=None,
        best_base={},
        training_log=[],
        reward_summary={},
    )
    assert "no judge can be trusted" in render_markdown(data)
