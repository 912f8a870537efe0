"""The processes of running steps: how they start, how much memory they take, and how they end.

A step's processes have its name in their environment, which tells them from the database server and from the steps that
run beside them.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

_STEP = "PREFLOW_STEP"
_SUPERVISOR = str(Path(__file__).with_name("supervise.py"))
_SAMPLES_PER_SECOND = 5.0
_GRACE_SECONDS = 5.0
_MIB = 1024.0 * 1024.0


def run_step(step: str, command: list[str], environment: Mapping[str, str], on_line: Callable[[str], None]) -> int:
    """Runs a step's command to its end, under a supervisor that ends it with this process, and gives its exit status.

    Args:
        step: The step's key.
        command: Program and arguments.
        environment: Variables beside those of this process.
        on_line: Receives each line of its output, standard error included.
    """
    supervised = [sys.executable, _SUPERVISOR, str(os.getpid()), *command]
    with subprocess.Popen(
        supervised,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **environment, _STEP: step},
    ) as process:
        for line in process.stdout or ():
            on_line(line.rstrip("\n"))
    return process.returncode


def step_processes() -> dict[str, list[psutil.Process]]:
    """The living processes below this one that belong to steps, by step."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.Process().children(recursive=True):
        try:
            step = process.environ().get(_STEP)
        except psutil.Error:
            continue
        if step:
            found.setdefault(step, []).append(process)
    return found


def end_steps() -> None:
    """Ends all step processes: asks first, and kills what does not listen within five seconds."""
    processes = [process for group in step_processes().values() for process in group]
    for process in processes:
        _quietly(process.terminate)
    _, stubborn = psutil.wait_procs(processes, timeout=_GRACE_SECONDS)
    for process in stubborn:
        _quietly(process.kill)
    psutil.wait_procs(stubborn, timeout=_GRACE_SECONDS)


class MemoryWatch(threading.Thread):
    """Samples the memory of steps five times a second and reports each sample in MiB."""

    def __init__(
        self, processes: Callable[[], dict[str, list[psutil.Process]]], on_sample: Callable[[str, float], None]
    ) -> None:
        super().__init__(name="memory-watch", daemon=True)
        self._processes, self._on_sample, self._done = processes, on_sample, threading.Event()

    def run(self) -> None:
        """Samples until it is stopped."""
        while not self._done.wait(1 / _SAMPLES_PER_SECOND):
            for step, processes in self._processes().items():
                self._on_sample(step, _memory(processes))

    def stop(self) -> None:
        """Ends the thread."""
        self._done.set()
        self.join()


def _memory(processes: list[psutil.Process]) -> float:
    """Resident memory of all processes together, or the highest mark any single one ever reached, if that is more."""
    total, marks = 0.0, [0.0]
    for process in processes:
        try:
            total += process.memory_info().rss / _MIB
            marks.append(_high_mark(process.pid))
        except psutil.Error:
            continue
    return max(total, *marks)


def _high_mark(pid: int) -> float:
    """VmHWM in MiB: what was resident at most, also between two samples. 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024.0
    except OSError:
        pass
    return 0.0


def _quietly(action: Callable[[], None]) -> None:
    with contextlib.suppress(psutil.Error):
        action()
