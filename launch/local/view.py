"""The view of a run while it goes on: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from launch.local.state import RunState, StepState

_BAR_WIDTH = 12
_WORDS = ("cached", "failed", "stopped")
_PLAIN_PROGRESS_SECONDS = 10.0
_MARKS = {
    "waiting": ("·", "dim"),
    "done": ("✓", "green"),
    "cached": ("=", "cyan"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
}


@contextmanager
def shown(state: RunState, title: str, console: Console) -> Iterator[None]:
    """Shows a run until the end of the block.

    Args:
        state: The run.
        title: Its name.
        console: Where it is shown; a live table if it is a terminal.
    """
    if console.is_terminal and not console.is_dumb_terminal:
        view = _View(state, title)
        with Live(view, console=console, refresh_per_second=8, redirect_stdout=False, redirect_stderr=False):
            yield
    else:
        console.print(title, highlight=False)
        state.on_change = _lines(state, console)
        yield


def clock(seconds: float) -> str:
    """Seconds as `0:07`, `12:34` or `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def memory(megabytes: float) -> str:
    """Mebibytes as `812 MiB` or `3.4 GiB`; nothing for 0."""
    if not megabytes:
        return ""
    return f"{megabytes:.0f} MiB" if megabytes < 1000 else f"{megabytes / 1024:.1f} GiB"


class _View:
    """The table, drawn anew at each refresh."""

    def __init__(self, state: RunState, title: str) -> None:
        self._state, self._title = state, title
        self._spinner = Spinner("dots", style="yellow")

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(no_wrap=True, min_width=20)
        table.add_column(justify="right", min_width=6)
        table.add_column(justify="right", min_width=8)
        table.add_column(no_wrap=True)
        for step in list(self._state.steps.values()):
            self._add(table, step)
        head = Text.assemble((self._title, "bold"), "  ", clock(time.monotonic() - self._state.began))
        # A short last line: after one that fills the width, the ^C that a terminal echoes would spoil the table.
        statuses = {step.status for step in self._state.steps.values()}
        over = not statuses & {"waiting", "running"} or statuses & {"failed", "stopped"}
        return Group(head, table, Text("" if over else "Ctrl-C stops; the same command again continues", style="dim"))

    def _add(self, table: Table, step: StepState) -> None:
        mark, style = _MARKS.get(step.status, ("", ""))
        running = step.status == "running"
        table.add_row(
            self._spinner if running else Text(mark, style=style),
            Text(step.step.name, style="" if running else "dim" if step.status == "waiting" else ""),
            "" if step.status in ("waiting", "cached") else clock(step.seconds),
            Text(memory(step.peak_memory_mb), style="dim"),
            _progress(step)
            if running and step.progress
            else Text(step.status if step.status in _WORDS else "", style=style),
        )


def _progress(step: StepState) -> RenderableType:
    event = step.progress
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text(f"{event['label']} {event['done']}/{event['total']}"),
        ProgressBar(total=event["total"] or 1, completed=event["done"], width=_BAR_WIDTH),
        Text(str(event["note"]), style="dim"),
    )
    return bar


def _lines(state: RunState, console: Console) -> Callable[[StepState], None]:
    """A function that prints a line when a step starts or ends, and one of its progress every ten seconds."""
    printed: dict[str, tuple[str, float]] = {}

    def line(step: StepState) -> None:
        status, at = printed.get(step.step.name, ("", 0.0))
        now = time.monotonic()
        if step.status == status and (status != "running" or now - at < _PLAIN_PROGRESS_SECONDS or not step.progress):
            return
        printed[step.step.name] = (step.status, now)
        text = f"[{clock(now - state.began)}] {step.step.name}: {_sentence(step)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    return line


def _sentence(step: StepState) -> str:
    if step.status == "running":
        event = step.progress
        return f"{event['label']} {event['done']}/{event['total']} {event['note']}".rstrip() if event else "started"
    if step.status == "done":
        return ", ".join(filter(None, [f"done in {clock(step.seconds)}", memory(step.peak_memory_mb)]))
    return step.status
