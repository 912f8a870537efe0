"""Progress of long loops: a bar on a terminal, lines that the launcher reads, or an occasional log line."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MARK = "::progress "
_LINES_PER_SECOND, _LOG_EVERY_SECONDS = 5.0, 10.0


@contextmanager
def track(label: str, total: int) -> Iterator[Callable[..., None]]:
    """Reports the progress of a loop.

    Args:
        label: Name of the work, such as `sampling`.
        total: Number of items.

    Yields:
        A function `advance(items=1, note="")` to call when items are done; `note` is shown after the bar.
    """
    if os.environ.get("PREFLOW_PROGRESS") == "json":
        yield _lines(label, total, 1 / _LINES_PER_SECOND, _as_event)
    elif sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=label, file=sys.stderr) as bar:

            def advance(items: int = 1, note: str = "") -> None:
                bar.set_postfix_str(note, refresh=False)
                bar.update(items)

            yield advance
    else:
        yield _lines(
            label,
            total,
            _LOG_EVERY_SECONDS,
            lambda label, done, total, note: f"{label}: {done}/{total} {note}".rstrip(),
        )


def _lines(label: str, total: int, every: float, line: Callable[[str, int, int, str], str]) -> Callable[..., None]:
    done, last = 0, 0.0

    def advance(items: int = 1, note: str = "") -> None:
        nonlocal done, last
        done += items
        now = time.monotonic()
        if now - last >= every or done >= total:
            last = now
            print(line(label, done, total, note), flush=True)

    return advance


def _as_event(label: str, done: int, total: int, note: str) -> str:
    return MARK + json.dumps({"label": label, "done": done, "total": total, "note": note})
