"""A file of feedback goes into the store whole or not at all, and only once."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from preflow import store
from preflow.errors import PreflowError
from preflow.feedback.importing import import_feedback
from preflow.identity import prompt_id
from preflow.rows import Feedback

VERTEX = {"input_text": "What is dew?", "candidate_0": "Fog.", "candidate_1": "Water.", "choice": 1}
TRL = {"prompt": "What is dew?", "chosen": "Water.", "rejected": "Rain."}
OWN = {
    "feedback_id": "f1",
    "kind": "thumbs",
    "prompt_id": prompt_id("What is dew?"),
    "prompt": "What is dew?",
    "responses": [{"text": "Water."}],
    "value": 1,
    "labeler": "ann",
    "source": "user",
    "created_at": "2026-01-02T03:04:05Z",
}
BEST = {"prompt": "What is dew?", "responses": ["Water.", "Fog.", "Rain."], "bestIndex": 0}
IDENTICAL = {**TRL, "rejected": "Water."}


def write(path: Path, *records: Any) -> str:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


def stored(database_url: str) -> tuple[str, list[Feedback]]:
    """The watermark of the store and the feedback below it."""
    with store.connect(database_url) as connection:
        watermark = store.feedback_watermark(connection)
        return watermark, store.read_feedback(connection, watermark)


def test_all_forms_are_written_and_counted(database_url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "f", VERTEX, VERTEX, TRL, OWN, BEST, IDENTICAL)
    assert import_feedback(file=file, database_url=database_url) == {"new": 6, "known": 0, "identical": 1}
    _, rows = stored(database_url)
    assert sorted((row.kind, row.labeler, row.source) for row in rows) == [
        *[("pairwise", "external", "human")] * 5,
        ("thumbs", "ann", "user"),
    ]
    assert [row for row in rows if row.feedback_id == "f1"] == [Feedback(**OWN)]


def test_a_shuffled_file_is_known_and_leaves_the_watermark(database_url: str, tmp_path: Path) -> None:
    records = [{**VERTEX, "choice": number % 2, "input_text": f"Why {number % 7}?"} for number in range(40)]
    records += [TRL, BEST, BEST, OWN]
    first = import_feedback(file=write(tmp_path / "f", *records), database_url=database_url)
    assert first == {"new": 46, "known": 0, "identical": 0}
    before = stored(database_url)
    for seed in range(3):
        random.Random(seed).shuffle(records)
        again = import_feedback(file=write(tmp_path / "g", *records), database_url=database_url)
        assert again == {"new": 0, "known": 46, "identical": 0}
    assert stored(database_url) == before


def test_what_is_added_to_a_file_is_new(database_url: str, tmp_path: Path) -> None:
    import_feedback(file=write(tmp_path / "f", VERTEX, TRL), database_url=database_url)
    before, _ = stored(database_url)
    counts = import_feedback(file=write(tmp_path / "f", VERTEX, VERTEX, TRL), database_url=database_url)
    assert counts == {"new": 1, "known": 2, "identical": 0}
    assert int(stored(database_url)[0]) > int(before)


def test_all_refused_lines_are_listed_and_nothing_is_written(database_url: str, tmp_path: Path) -> None:
    import_feedback(file=write(tmp_path / "f", OWN), database_url=database_url)
    before = stored(database_url)
    bad = [{**OWN, "value": -1}, VERTEX, "", "{", "[]", {**VERTEX, "choice": 2}, {**OWN, "feedback_id": "f2"}, TRL]
    file = write(tmp_path / "g", *bad, {**OWN, "feedback_id": "f2", "value": 3}, {"question": "?"}, r'{"a": "\ud800"}')
    with pytest.raises(PreflowError) as caught:
        import_feedback(file=file, database_url=database_url)
    *problems, last = str(caught.value).splitlines()
    starts = [
        "line 1: field 'feedback_id': 'f1' is in the store with other content",
        "line 4: not JSON",
        "line 5: a JSON object was expected",
        "line 6: field 'choice': must be 0 or 1",
        "line 9: field 'value': the value of a thumbs is -1 or 1",
        "line 10: the record has no accepted form",
        "line 11: half of a surrogate pair",
    ]
    assert len(problems) == len(starts)
    assert all(problem.startswith(f"{file}, {start}") for problem, start in zip(problems, starts, strict=True))
    assert last == "nothing was written; lines refused: 7"
    assert stored(database_url) == before


def test_an_id_that_is_in_the_file_twice_is_refused(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match="line 2: field 'feedback_id': 'f1' is in the file twice"):
        import_feedback(file=write(tmp_path / "f", OWN, OWN), database_url=database_url)
    assert stored(database_url) == ("0", [])


def test_labeler_and_source_are_set_on_every_row(database_url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "f", VERTEX, {key: value for key, value in OWN.items() if key != "labeler"})
    import_feedback(file=file, database_url=database_url, labeler="bob", source="example")
    _, rows = stored(database_url)
    assert [(row.labeler, row.source) for row in rows] == [("bob", "example")] * 2
    assert "f1" in {row.feedback_id for row in rows}


def test_two_labelers_may_judge_alike(database_url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "f", VERTEX)
    for labeler in ("ann", "bob"):
        assert import_feedback(file=file, database_url=database_url, labeler=labeler)["new"] == 1


def test_an_own_row_with_another_labeler_is_other_content(database_url: str, tmp_path: Path) -> None:
    file = write(tmp_path / "f", OWN)
    import_feedback(file=file, database_url=database_url)
    with pytest.raises(PreflowError, match="'f1' is in the store with other content"):
        import_feedback(file=file, database_url=database_url, labeler="bob")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"source": "people"}, "^`source`: 'people' given; it must be one of human, user, auto, example$"),
        ({"labeler": " "}, "^`labeler`: ' ' given; it must not be blank$"),
        ({"file": "no-such-file"}, "no-such-file"),
    ],
)
def test_wrong_arguments_are_named(database_url: str, tmp_path: Path, given: dict[str, Any], says: str) -> None:
    arguments = {"file": write(tmp_path / "f", VERTEX), "database_url": database_url, **given}
    with pytest.raises(PreflowError, match=says):
        import_feedback(**arguments)
    assert stored(database_url) == ("0", [])
