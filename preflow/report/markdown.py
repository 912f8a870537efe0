"""The report's short form in Markdown: the finding and the two tables."""

from collections.abc import Sequence

from preflow.report.data import ReportData
from preflow.report.headline import make_headline
from preflow.report.tables import JudgeRow, MeasureRow, judge_rows, score_rows, temperature_rows, text_rows

_ESCAPED = {ord(sign): f"\\{sign}" for sign in "\\`*_[]|~"} | {ord("<"): "&lt;", ord(">"): "&gt;", ord("&"): "&amp;"}


def render_markdown(data: ReportData) -> str:
    """The finding, the win rates and base against tuned, as Markdown with tables of GitHub's form."""
    headline = make_headline(data)
    run, count = data.summary["run"], len(data.evaluations)
    facts = f"Base model {run['base_model']}, policy {run['policy_digest']}, {count} test prompts."
    parts = [
        f"## {_text(headline.line)}",
        _text(headline.sentence),
        "\n".join(f"- **Note:** {_text(caution)}" for caution in headline.cautions),
        _text(facts),
        "\n".join(f"- {_text(reason)}" for reason in data.verdict.reasons),
        _judge_table("By temperature", temperature_rows(data)),
        _judge_table("Judge, greedily", judge_rows(data)),
        _measure_table([*score_rows(data), *text_rows(data)]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _judge_table(title: str, rows: Sequence[JudgeRow]) -> str:
    if not rows:
        return ""
    lines = [f"| {title} | Role | Win rate | 95 % interval | At equal length | 95 % interval | Won / tied / lost |"]
    lines.append("|---|---|--:|--:|--:|--:|--:|")
    lines += [
        _line(row.name, row.role, row.raw, row.raw_interval, row.controlled, row.controlled_interval, row.counts)
        for row in rows
    ]
    return "\n".join(lines)


def _measure_table(rows: Sequence[MeasureRow]) -> str:
    lines = ["| Measure | Base | Tuned | Change | 95 % interval |", "|---|--:|--:|--:|--:|"]
    for row in rows:
        name = f"{row.name}, {row.unit}" if row.unit else row.name
        lines.append(_line(name, row.base, row.tuned, row.change, row.interval))
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return "| " + " | ".join(_text(cell) for cell in cells) + " |"


def _text(text: str) -> str:
    """A text escaped for Markdown, on one line."""
    return " ".join(text.split()).translate(_ESCAPED)
