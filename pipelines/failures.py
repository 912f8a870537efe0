"""One clear line about why a step ended, out of its exit status and its log."""

import re
import signal
from pathlib import Path

_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")
_TAIL_BYTES = 200_000


def explain(log: Path, returncode: int) -> str:
    """Says why a step failed.

    Args:
        log: The step's output.
        returncode: As the shell or `Popen` gives it: 128 + n or -n for signal n.

    Returns:
        The message of a PreflowError alone; of any other exception `Type: message`; otherwise how the process ended.
    """
    number = -returncode if returncode < 0 else returncode - 128
    if number == signal.SIGKILL:
        return "it was killed (signal 9), maybe because memory ran out; smaller batches or lengths need less"
    if number in set(signal.Signals):
        return f"it died of signal {number} ({signal.Signals(number).name})"
    return _last_exception(_tail(log)) or f"it ended with exit status {returncode} and no exception in its log"


def _last_exception(text: str) -> str:
    _, found, after = text.rpartition(_TRACEBACK)
    if not found:
        return ""
    for line in after.splitlines():
        match = _EXCEPTION.match(line)
        if match:
            name = match["type"].rpartition(".")[2]
            message = match["message"] or ""
            if name == "PreflowError":
                return message
            return f"{name}: {message}" if message else name
    return ""


def _tail(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
