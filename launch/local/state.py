"""What is known about a run while it goes on: each step's status, time, progress, memory and outputs."""

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from launch.local.failures import explain
from launch.spec import Step
from launch.values import as_typed
from preflow.progress import MARK

Status = Literal["waiting", "running", "done", "cached", "failed", "stopped"]


@dataclass
class StepState:
    """One step of a run. Times are seconds of the monotonic clock, memory is MiB."""

    step: Step
    log: Path
    status: Status = "waiting"
    began: float = 0.0
    ended: float = 0.0
    peak_memory_mb: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    returncode: int | None = None
    error: str = ""

    @property
    def seconds(self) -> float:
        """How long it ran, or has been running."""
        return (self.ended or time.monotonic()) - self.began if self.began else 0.0


class RunState:
    """Watches a run. Safe to read from other threads, step by step; `on_change` is called after every change."""

    def __init__(self, steps: list[Step], logs: Path) -> None:
        self._logs = logs
        self._lock = threading.RLock()
        self._files: dict[str, TextIO] = {}
        self.began = time.monotonic()
        self.steps = {step.name: StepState(step, logs / f"{step.name}.log") for step in steps}
        self.on_change: Callable[[StepState], None] = lambda _: None

    def begin(self, task: str) -> str:
        """A task is reached. A name that comes again, as in a loop, is numbered."""
        with self._lock:
            key, number = task, 1
            while key in self.steps and self.steps[key].status != "waiting":
                number += 1
                key = f"{task}-{number}"
            if key not in self.steps:
                step = dataclasses.replace(self.steps[task].step, name=key)
                self.steps[key] = StepState(step, self._logs / f"{key}.log")
            self.steps[key].began = time.monotonic()
            return key

    def started(self, step: str) -> Callable[[str], None]:
        """Its process starts."""
        state = self.steps[step]
        state.status = "running"
        file = self._files[step] = state.log.open("a", encoding="utf-8", buffering=1)

        def line(text: str) -> None:
            if text.startswith(MARK):
                self._progress(state, text.removeprefix(MARK))
            else:
                file.write(f"{text}\n")

        self.on_change(state)
        return line

    def exited(self, step: str, returncode: int) -> None:
        """Its process ended."""
        self.steps[step].returncode = returncode
        self._close(step)

    def finished(self, step: str, outputs: Mapping[str, Any]) -> None:
        """The task succeeded; one that never started a process came from the cache."""
        state = self.steps[step]
        state.outputs = dict(outputs)
        self._end(state, "done" if state.status == "running" else "cached")

    def failed(self, step: str, error: str = "") -> None:
        """The task failed; its log is closed and says why, unless `error` does."""
        state = self.steps[step]
        self._close(step)
        state.error = error
        if state.returncode:
            state.error = as_typed(explain(state.log, state.returncode), state.step)
        self._end(state, "failed")

    def interrupted(self) -> None:
        """The run is being stopped from outside."""
        for name, state in self.steps.items():
            if state.status == "running":
                self._close(name)
                self._end(state, "stopped")

    def memory(self, step: str, megabytes: float) -> None:
        """A sample of a step's memory."""
        state = self.steps.get(step)
        if state:
            state.peak_memory_mb = max(state.peak_memory_mb, megabytes)

    def failure(self) -> StepState | None:
        """The step that failed, if one did."""
        return next((state for state in self.steps.values() if state.status == "failed"), None)

    def _progress(self, state: StepState, text: str) -> None:
        try:
            event = json.loads(text)
            state.progress = {key: event[key] for key in ("label", "done", "total", "note")}
        except (ValueError, KeyError, TypeError):
            return  # a cut line; the next one will do
        self.on_change(state)

    def _end(self, state: StepState, status: Status) -> None:
        state.status, state.ended, state.progress = status, time.monotonic(), {}
        self.on_change(state)

    def _close(self, step: str) -> None:
        log = self._files.pop(step, None)
        if log:
            log.close()
