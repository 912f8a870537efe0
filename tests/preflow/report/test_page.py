import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from preflow.report.data import ReportData
from preflow.report.page import across, render_report
from preflow.rows import Answer, Evaluation

MakeData = Callable[..., ReportData]
MakeRow = Callable[..., Evaluation]
_VOID = {"meta", "br", "hr", "img", "input", "link", "line", "circle", "rect", "polyline"}


class Page(HTMLParser):
    """Reads a page strictly: remembers tags, attributes and text, and fails on tags that do not pair up."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> list[str | None]:
        return [attributes[name] for _, attributes in self.tags if name in attributes]

    def count(self, tag: str, **wanted: str) -> int:
        return sum(name == tag and all(attrs.get(k) == v for k, v in wanted.items()) for name, attrs in self.tags)


def test_the_page_stands_alone(make_data: MakeData) -> None:
    html = render_report(make_data())
    page = Page(html)
    assert page.attributes("src") == []
    assert all(target is not None and target.startswith("#") for target in page.attributes("href"))
    assert {"script", "link", "iframe", "img", "object", "form"}.isdisjoint(tag for tag, _ in page.tags)
    assert "url(" not in html
    assert "@import" not in html
    assert html.startswith("<!doctype html>")


def test_every_link_leads_to_a_section(make_data: MakeData) -> None:
    page = Page(render_report(make_data()))
    assert {f"#{target}" for target in page.attributes("id")} == set(page.attributes("href"))


def test_the_finding_and_all_prompts_are_there(make_data: MakeData) -> None:
    page = Page(render_report(make_data(examples=3)))
    assert "Promoted: better than the base model" in page.text
    assert page.count("details", **{"class": "example"}) == 12
    assert sum("open" in attrs for tag, attrs in page.tags if attrs.get("class") == "example") == 3
    assert "cut off at the limit of 64 tokens" in page.text
    assert "kl_coeff" in page.text
    assert '{"relevance": 2.0}' in page.text


_RENDER = """
import pickle, sys
from pathlib import Path
from preflow.report.page import render_report

data = pickle.loads(Path(sys.argv[1]).read_bytes())
sys.stdout.buffer.write(render_report(data).encode())
"""


def test_the_same_data_give_the_same_page_in_every_process(
    make_data: MakeData, make_row: MakeRow, tmp_path: Path
) -> None:
    rows = [make_row(number, category=f"category {number}") for number in range(12)]
    data = make_data(evaluations=rows, parameters={f"setting_{number}": number for number in range(12)})
    (tmp_path / "data").write_bytes(pickle.dumps(data))

    def page(hash_seed: str) -> bytes:
        """The page made by another process, in which sets of texts have another order."""
        return subprocess.run(
            [sys.executable, "-c", _RENDER, str(tmp_path / "data")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            timeout=60,
            check=True,
        ).stdout

    assert page("1") == page("2") == render_report(data).encode()


_HOSTILE = "\"><script>alert('x')</script><img src=x onerror=alert(1)>' onload='y\x00z</style></textarea>{{ 7 * 7 }}"


def test_hostile_text_stays_text_everywhere(make_data: MakeData, make_row: MakeRow) -> None:
    answer = Answer(response=_HOSTILE, tokens=3, finish_reason="length", scores={_HOSTILE: 0.5, "label_score": 0.1})
    row = make_row(
        0,
        prompt=[{"role": "user", "content": _HOSTILE}, {"role": "assistant", "content": _HOSTILE}],
        reference=_HOSTILE,
        category=_HOSTILE,
        answers={"base": answer, "tuned": answer},
    )
    data = make_data(
        base_model=_HOSTILE,
        policy_digest=_HOSTILE,
        parameters={_HOSTILE: _HOSTILE, "nested": {_HOSTILE: [_HOSTILE]}},
        evaluations=[row, make_row(1, prompt=_HOSTILE)],
        judge_roles={"label_score": "label score", _HOSTILE: "monitor"},
        base={_HOSTILE: 0.5},
        tuned={_HOSTILE: 0.5},
        definitions={_HOSTILE: _HOSTILE},
    )
    html = render_report(data)
    page = Page(html)
    tags = {tag for tag, _ in page.tags}
    assert {"script", "img"}.isdisjoint(tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "\x00" not in html
    assert "y␀z" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert page.text.count("<script>alert('x')</script>") > 10


def test_control_characters_and_surrogates_can_be_written(make_data: MakeData) -> None:
    html = render_report(make_data(base_model="a\x1bb\r\nc\ud800d\x7f"))
    assert "a␛b\nc\ufffdd␡" in html.encode("utf-8").decode("utf-8")


def test_blanks_and_line_ends_of_answers_are_kept(make_data: MakeData, make_row: MakeRow) -> None:
    answers = make_row(0).answers
    row = make_row(0, answers={**answers, "tuned": answers["tuned"].model_copy(update={"response": "1.\n  a\n2."})})
    assert ">1.\n  a\n2.</div>" in render_report(make_data(evaluations=[row]))


@pytest.mark.parametrize("updates", [0, 1, 2, 200])
def test_any_number_of_updates_can_be_drawn(
    make_data: MakeData, make_log: Callable[[int], list[dict[str, Any]]], updates: int
) -> None:
    page = Page(render_report(make_data(training_log=make_log(updates))))
    assert page.count("figure") == (8 if updates else 0)
    assert ("No updates were logged." in page.text) == (updates == 0)


def test_an_empty_reward_summary_is_said_to_be_missing(make_data: MakeData) -> None:
    page = Page(render_report(make_data(reward_summary={})))
    assert "No summary of the reward model's training was given." in page.text
    assert page.count("rect") == 0


def test_a_reward_summary_without_baselines_shows_what_there_is(make_data: MakeData) -> None:
    page = Page(render_report(make_data(reward_summary={"accuracy": 0.7, "baseline_similarity": None})))
    assert page.count("rect") == 1


def test_null_scores_show_as_dashes(make_data: MakeData, make_row: MakeRow) -> None:
    page = Page(render_report(make_data(evaluations=[make_row(0, tuned=None), make_row(1, base=None, tuned=None)])))
    assert "fails" in page.text
    assert "not scored" in page.text
    assert "no prompt was scored" in page.text
    assert "nan" not in page.text.lower().split()
    assert "None" not in page.text.replace("None were given", "")


def test_a_bare_run_still_makes_a_page(make_data: MakeData) -> None:
    bare = make_data(
        evaluations=[], win_rates={}, judge_roles={}, base={}, tuned={}, kl=None, kl_high=None, best_base={},
        reward_summary={}, training_log=[],
        parameters={},
    )  # fmt: skip
    page = Page(render_report(bare))
    assert "No judges." in page.text
    assert "None were given." in page.text


def test_places_in_a_plot_stay_inside_it() -> None:
    assert [across(share) for share in (-1, 0, 0.5, 1, 2)] == ["1.50%", "1.50%", "50.00%", "98.50%", "98.50%"]


def test_the_plot_draws_the_win_rate_where_it_is(make_data: MakeData) -> None:
    data = make_data()
    page = Page(render_report(data))
    places = [attrs["cx"] for tag, attrs in page.tags if tag == "circle" and attrs.get("class") == "dot"]
    assert across(data.win_rates["label_score"].win_rate) in places
    assert across(data.win_rates["calm"].win_rate) in places
