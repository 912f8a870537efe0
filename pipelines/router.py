"""Stands in for standard output while KFP runs: each step's output goes to its own log, KFP's own words to another."""

import io
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_INDENT = "    "


class LineRouter(io.TextIOBase):
    """A text stream that cuts what is written into lines and sends each where its thread's output belongs.

    KFP prints a step's output in the thread that runs the step, four blanks indented, and logs to the same stream.
    """

    def __init__(self, default: Path) -> None:
        self._lock = threading.RLock()
        self._default = default.open("w", encoding="utf-8")
        self._targets: dict[int, Callable[[str], None]] = {}
        self._pending: dict[int, str] = {}

    def writable(self) -> bool:
        """Always: it is there to be written to."""
        return True

    def write(self, text: str) -> int:
        """Takes text and sends on the lines that are complete."""
        with self._lock:
            thread = threading.get_ident()
            *lines, rest = (self._pending.get(thread, "") + text).split("\n")
            self._pending[thread] = rest
            for line in lines:
                self._send(thread, line)
        return len(text)

    def route(self, target: Callable[[str], None]) -> None:
        """From now on the lines of this thread go to `target`, without KFP's indentation."""
        with self._lock:
            self._targets[threading.get_ident()] = target

    def unroute(self) -> None:
        """The lines of this thread are KFP's own again."""
        with self._lock:
            thread = threading.get_ident()
            unfinished = self._pending.pop(thread, "")
            if unfinished.strip():
                self._send(thread, unfinished)
            self._targets.pop(thread, None)

    def close(self) -> None:
        """Closes the default file."""
        with self._lock:
            if not self._default.closed:
                self._default.close()

    def _send(self, thread: int, line: str) -> None:
        target = self._targets.get(thread)
        if target:
            target(line.removeprefix(_INDENT))
        elif not self._default.closed:
            self._default.write(_COLOUR.sub("", line) + "\n")
            self._default.flush()


class StepLog:
    """The log file of one step. Progress lines do not go there but to `on_progress`."""

    def __init__(self, path: Path, mark: str, on_progress: Callable[[str], None]) -> None:
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._mark, self._on_progress = mark, on_progress
        self._blanks = 0  # held back: KFP ends every step's output with some of its own

    def line(self, line: str) -> None:
        """Takes one line of the step's output."""
        if line.startswith(self._mark):
            self._on_progress(line.removeprefix(self._mark))
        elif not line.strip():
            self._blanks += 1
        else:
            self._file.write("\n" * self._blanks + line + "\n")
            self._file.flush()
            self._blanks = 0

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
