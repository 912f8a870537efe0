"""Time alternatives in turn, so that what else the machine does meets them alike."""

import time
from collections.abc import Callable, Mapping
from typing import Any


def best_seconds(alternatives: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The shortest of `rounds` runs of each alternative, after one that does not count."""
    best = dict.fromkeys(alternatives, float("inf"))
    for number in range(rounds + 1):
        for name, run in alternatives.items():
            started = time.perf_counter()
            run()
            if number:
                best[name] = min(best[name], time.perf_counter() - started)
    return best
