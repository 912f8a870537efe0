"""Rows are strict, errors name file, line and field, and no half file is ever left behind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from preflow.errors import PreflowError
from preflow.rows import Feedback, Preference, Prompt, parse_row, read_records, read_rows, write_rows

FEEDBACK = {
    "feedback_id": "f1",
    "kind": "rating",
    "prompt_id": "p",
    "prompt": "What is dew?",
    "responses": [{"text": "Water."}],
    "labeler": "ann",
    "source": "human",
    "created_at": "2026-01-01T00:00:00Z",
}


def test_rows_read_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [
        Prompt(prompt_id="a", prompt="Grüße\n\u2028?", split="train", reference="r"),
        Prompt(prompt_id="b", prompt=[{"role": "user", "content": "Hi"}], split="train", category="c"),
    ]
    assert write_rows(tmp_path / "new" / "p.jsonl", rows) == 2
    assert read_rows(tmp_path / "new" / "p.jsonl", Prompt) == rows
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.jsonl"]


@pytest.mark.parametrize("value", [1, 0.5, "text", [1, 0], None])
def test_a_value_keeps_its_type(value: Any) -> None:
    row = parse_row(Feedback, {**FEEDBACK, "value": value}, "f")
    assert type(row.value) is type(value)
    assert row.value == value


@pytest.mark.parametrize(
    ("row_type", "record", "expected"),
    [
        (Prompt, {"prompt": "x", "split": "train"}, "field 'prompt_id': Field required"),
        (Prompt, {"prompt_id": "a", "split": "train", "prompt": "x", "promt": "y"}, "field 'promt': Extra inputs"),
        (Prompt, {"prompt_id": "a", "split": "train", "prompt": 5}, "field 'prompt': "),
        (Prompt, {"prompt_id": "a", "prompt": [{"role": "human", "content": "x"}]}, "field 'prompt.0.role': "),
        (Prompt, {"prompt_id": "a", "prompt": [{"role": "user", "content": 1}]}, "field 'prompt.0.content': "),
        (Prompt, {"prompt_id": "a", "prompt": [{"role": "user", "content": "x", "n": "n"}]}, "'prompt.0.n': Extra"),
        (Feedback, {**FEEDBACK, "value": True}, "field 'value': "),
        (Feedback, {**FEEDBACK, "value": [True]}, "field 'value.0': "),
        (Feedback, {**FEEDBACK, "value": 1, "responses": []}, "field 'responses': "),
        (Feedback, {**FEEDBACK, "value": 1, "source": "phi-2"}, "field 'source': "),
        (Preference, [], "field '(the whole record)': "),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named_by_place_and_field(row_type: Any, record: Any, expected: str) -> None:
    with pytest.raises(PreflowError) as error:
        parse_row(row_type, record, "f.jsonl, line 3")
    assert str(error.value).startswith("f.jsonl, line 3: ")
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "the file is empty; at least one row is needed"),
        ("\n \n", "the file is empty"),
        ('{"a": 1}\n{oops}\n', "line 2: not JSON"),
        ('{"a": 1}\n\n[1]\n', "line 3: a JSON object was expected, got list"),
        ("[" * 100_000, "line 1: not JSON"),
        ('{"a": {"b": "\\ud83d"}}\n', "line 1: half of a surrogate pair"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_by_line(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "f.jsonl").write_text(content)
    with pytest.raises(PreflowError, match=expected):
        list(read_records(tmp_path / "f.jsonl"))


def test_whole_characters_may_be_escaped(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"a": "\\ud83d\\ude00"}\n')
    assert [record for _, record in read_records(tmp_path / "f.jsonl")] == [{"a": "😀"}]


def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"a": 1}\n', encoding="utf-8-sig")
    assert [record for _, record in read_records(tmp_path / "f.jsonl")] == [{"a": 1}]


def test_an_empty_file_reads_as_no_rows_where_that_is_fine(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").touch()
    assert read_rows(tmp_path / "f.jsonl", Prompt, allow_empty=True) == []


def test_a_writer_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "p.jsonl"
    write_rows(target, [Prompt(prompt_id="old", prompt="x", split="train")])

    def rows() -> Iterator[Prompt]:
        yield Prompt(prompt_id="new", prompt="x", split="train")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_rows(target, rows())
    assert json.loads(target.read_text())["prompt_id"] == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"]


def test_a_place_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(PreflowError, match="folder: cannot be written"):
        write_rows(tmp_path / "folder", [Prompt(prompt_id="a", prompt="x", split="train")])
