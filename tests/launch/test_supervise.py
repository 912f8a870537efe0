"""A step ends with its launcher, however that dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from launch.local.processes import run_step

_ROOT = Path(__file__).parents[2]
_SLOW = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
_SLOW += "print('started', flush=True); time.sleep(60)"


def test_output_and_exit_status_come_through(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    program = "import os, sys; print(os.environ['WORD']); print('  two', file=sys.stderr); sys.exit(3)"
    assert run_step("train", [sys.executable, "-c", program], {"WORD": "grün"}, lines.append) == 3
    assert sorted(lines) == ["  two", "grün"]


def test_a_signal_is_told_as_a_shell_tells_it() -> None:
    program = "import os; os.kill(os.getpid(), 9)"
    assert run_step("train", [sys.executable, "-c", program], {}, lambda _: None) == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_of_a_step_outlives_its_launcher_by_two_seconds(number: signal.Signals) -> None:
    program = (
        "import sys; from launch.local.processes import run_step\n"
        "run_step('train', [sys.executable, '-c', sys.argv[1]], {}, lambda line: print(line, flush=True))"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", program, _SLOW],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout and launcher.stdout.readline() == "started\n"
    steps = psutil.Process(launcher.pid).children(recursive=True)
    assert len(steps) >= 3, "supervisor, step and the step's own child"
    launcher.send_signal(number)
    launcher.wait()
    time.sleep(2)
    assert [step for step in steps if step.is_running() and step.status() != psutil.STATUS_ZOMBIE] == []
