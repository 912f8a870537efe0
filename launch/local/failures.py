"""One clear line about why a step ended, from its exit status and its log."""

import re
import signal
from pathlib import Path

_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"^(?P<type>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$")


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
    return _last_exception(log) or f"it ended with exit status {returncode} and no exception in its log"


def _last_exception(log: Path) -> str:
    _, found, after = log.read_text(encoding="utf-8", errors="replace").rpartition(_TRACEBACK)
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
