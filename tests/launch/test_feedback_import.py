"""`preflow feedback import`, on the real store."""

import json
from pathlib import Path

import pytest

from launch import cli
from preflow.store import connect, feedback_watermark, read_feedback

_ROWS = [
    {"prompt": "What is dew?", "responses": ["Fog.", "Water."], "ranking": [1, 0]},
    {"input_text": "What is rain?", "candidate_0": "Water.", "candidate_1": "Wine.", "choice": 0},
]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database_url: str) -> Path:
    """A file of two judgements, and a database to import them into."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    path = tmp_path / "feedback.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in _ROWS))
    return path


def test_new_and_known_are_counted_and_known_rows_move_no_watermark(
    file: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["feedback", "import", str(file), "--labeler", "ada"]) == 0
    assert capsys.readouterr().out == "2 new, 0 known, 0 identical\n"
    with connect(database_url) as connection:
        before = feedback_watermark(connection)
        assert {row.labeler for row in read_feedback(connection, before)} == {"ada"}
    file.write_text("".join(json.dumps(row) + "\n" for row in reversed(_ROWS)))
    assert cli.main(["feedback", "import", str(file), "--labeler", "ada"]) == 0
    assert capsys.readouterr().out == "0 new, 2 known, 0 identical\n"
    with connect(database_url) as connection:
        assert feedback_watermark(connection) == before


def test_every_wrong_line_is_listed_and_nothing_is_written(
    file: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with file.open("a") as opened:
        opened.write('{"a": 1}\nnot json\n')
    assert cli.main(["feedback", "import", str(file)]) == 1
    shown = capsys.readouterr().err
    assert f"{file}, line 3: " in shown and f"{file}, line 4: " in shown
    assert "nothing was written" in shown
    with connect(database_url) as connection:
        assert read_feedback(connection, feedback_watermark(connection)) == []
