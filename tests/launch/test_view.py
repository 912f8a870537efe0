"""What a terminal shows while a run goes on."""

import io
from pathlib import Path

from rich.console import Console

from launch.local.state import RunState
from launch.local.view import clock, memory, shown
from launch.spec import Step


def test_clock_and_memory_read_well() -> None:
    assert [clock(seconds) for seconds in (7.9, 754, 3723)] == ["0:07", "12:34", "1:02:03"]
    assert [memory(mebibytes) for mebibytes in (0.0, 811.6, 3481.6)] == ["", "812 MiB", "3.4 GiB"]


def _state(folder: Path) -> RunState:
    return RunState([Step(name, name, {}, {}) for name in ("validate", "train", "judge")], folder)


def test_the_table_shows_steps_progress_and_outcomes(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None, _environ={"TERM": "xterm"})
    state = _state(tmp_path)
    with shown(state, "rlhf-1", console):
        state.begin("validate")
        state.finished("validate", {})
        line = state.started(state.begin("train"))
        line('::progress {"label": "training", "done": 12, "total": 40, "note": "loss 0.61"}')
        line('::progress {"label": "cut off')
    assert isinstance(console.file, io.StringIO)
    last = console.file.getvalue().rpartition("rlhf-1")[2]
    assert "judge" in last
    assert "cached" in last
    assert "training 12/40" in last
    assert "loss 0.61" in last
    assert "· " in last


def test_plain_lines_tell_starts_ends_and_the_first_progress(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=40)
    state = _state(tmp_path)
    with shown(state, "rlhf-1", console):
        line = state.started(state.begin("train"))
        for done in range(3):
            line(f'::progress {{"label": "training", "done": {done}, "total": 3, "note": ""}}')
        state.memory("train", 512.0)
        state.exited("train", 0)
        state.finished("train", {})
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert [line.partition("] ")[2] or line for line in lines] == [
        "rlhf-1",
        "train: started",
        "train: done in 0:00, 512 MiB",
    ]


def test_a_task_that_comes_again_is_numbered(tmp_path: Path) -> None:
    state = _state(tmp_path)
    for expected in ("train", "train-2", "train-3"):
        key = state.begin("train")
        state.finished(key, {})
        assert key == expected
    assert state.steps["train-2"].step.verb == "train"
