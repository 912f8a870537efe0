"""Progress as lines for the launcher, as a log, and as a bar on a terminal."""

import io
import json
from types import SimpleNamespace

import pytest

from preflow.progress import MARK, track


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("preflow.progress.sys", SimpleNamespace(stderr=screen))
    return screen


def events(out: str) -> list[dict[str, object]]:
    return [json.loads(line.removeprefix(MARK)) for line in out.splitlines() if line.startswith(MARK)]


def test_the_launcher_gets_lines_and_always_the_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: io.StringIO
) -> None:
    monkeypatch.setenv("PREFLOW_PROGRESS", "json")
    with track("sampling", 1000) as advance:
        for done in range(1000):
            advance(1, f"row {done}")
    found = events(capsys.readouterr().out)
    assert found[-1] == {"label": "sampling", "done": 1000, "total": 1000, "note": "row 999"}
    assert len(found) < 20, "a few lines a second, not one an item"
    assert terminal.getvalue() == ""


def test_a_log_gets_a_plain_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PREFLOW_PROGRESS", raising=False)
    now = [100.0]
    monkeypatch.setattr("preflow.progress.time.monotonic", lambda: now[0])
    with track("scoring", 40) as advance:
        for _ in range(40):
            advance(1)
            now[0] += 1.0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"scoring: {done}/40" for done in (1, 11, 21, 31, 40)]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO) -> None:
    monkeypatch.delenv("PREFLOW_PROGRESS", raising=False)
    with track("sampling", 3) as advance:
        advance(2)
        advance(1, "loss 0.5")
    assert "sampling: 100%" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()
    assert "loss 0.5" in terminal.getvalue()


def test_nothing_to_do_says_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PREFLOW_PROGRESS", "json")
    with track("scoring", 0):
        pass
    assert capsys.readouterr().out == ""
