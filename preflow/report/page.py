"""The report: one self-contained HTML file without scripts or network requests."""

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from preflow.evaluation.formats import number, percent, percent_range, signed, whole
from preflow.evaluation.names import in_sentence, name_of
from preflow.report import curves
from preflow.report.answers import answer_categories, biggest_changes
from preflow.report.data import ReportData, number_in
from preflow.report.definitions import GLOSSES, all_definitions
from preflow.report.headline import make_headline
from preflow.report.tables import canary_table, judge_bases, judge_rows, score_rows, temperature_rows, text_rows

# Control characters have no meaning in HTML, and a null byte ends some readers' text: show them as their pictures
# (U+2400 and up). A lone surrogate cannot be written as UTF-8.
_VISIBLE = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"}
_VISIBLE |= {0x7F: 0x2421} | dict.fromkeys(range(0x80, 0xA0), 0xFFFD) | dict.fromkeys(range(0xD800, 0xE000), 0xFFFD)
_INSET = 1.5


def render_report(data: ReportData) -> str:
    """The report of one run as an HTML page.

    Prompts, answers, names and parameters are untrusted: Jinja escapes them, control characters are made visible, and
    the page's content security policy forbids scripts and requests.

    Returns:
        A complete HTML document, to be written as UTF-8.
    """
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        number=number, percent=percent, signed=signed, whole=whole, across=across, in_sentence=in_sentence
    )
    judges = judge_rows(data)
    most_won, most_lost = biggest_changes(data)
    return templates.get_template("report.html").render(
        data=data,
        headline=make_headline(data),
        headline_judge=name_of(data.headline_judge) if data.headline_judge else "",
        headline_row=next((row for row in judges if row.judge == data.headline_judge), None),
        judges=judges,
        temperatures=temperature_rows(data),
        canaries=canary_table(data),
        bases=judge_bases(data),
        run=data.summary["run"],
        judge_groups=[(role, list(rows)) for role, rows in groupby(judges, key=lambda row: row.role)],
        scores=score_rows(data),
        texts=text_rows(data),
        glosses=GLOSSES,
        charts=curves.training_charts(data.training_log),
        geometry=curves,
        reward=_reward_bars(data),
        categories=answer_categories(data),
        most_won=most_won,
        most_lost=most_lost,
        parameters=[(key, _shown(value)) for key, value in data.summary["run"]["parameters"].items()],
        definitions=all_definitions(data),
    )


def across(share: float) -> str:
    """A share as a horizontal position in a plot, in per cent of its width; an inset keeps marks at 0 and 1 whole."""
    return f"{_INSET + min(max(share, 0.0), 1.0) * (100 - 2 * _INSET):.2f}%"


def _reward_bars(data: ReportData) -> dict[str, Any]:
    """The reward model's accuracy and its baselines, as bars; no bars when the summary holds no accuracy."""
    summary = data.summary["run"]["reward_model"]
    on_test = data.summary["reward_model_test"] or {}
    low, high = number_in(summary, "accuracy_low"), number_in(summary, "accuracy_high")
    candidates = [
        ("Reward model", "tuned", number_in(summary, "accuracy"), low, high),
        ("Longer answer", "other", number_in(summary, "baseline_longer"), None, None),
        ("Similarity to the prompt", "other", number_in(summary, "baseline_similarity"), None, None),
    ]
    return {
        "bars": [bar for bar in candidates if bar[2] is not None],
        "interval": percent_range(low, high),
        "facts": [
            ("Training pairs", whole(number_in(summary, "train_pairs"))),
            ("Held-out pairs", whole(number_in(summary, "validation_pairs"))),
            ("On test prompts", _on_test(on_test)),
            ("Zero point", number(number_in(summary, "zero_point"))),
        ],
    }


def _on_test(found: Mapping[str, Any]) -> str:
    """The reward model's accuracy on pairs of test prompts, with that of the rules."""
    accuracy, longer, similarity = (
        percent(number_in(found, name)) for name in ("accuracy", "baseline_longer", "baseline_similarity")
    )
    return f"{accuracy} of {whole(number_in(found, 'pairs'))} pairs (longer {longer}, similarity {similarity})"


def _shown(value: Any) -> str:
    """A parameter's value: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _visible(value: Any) -> Any:
    """Makes the control characters of a text visible; leaves everything else, such as the template's markup, alone."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return value.replace("\r\n", "\n").translate(_VISIBLE)
