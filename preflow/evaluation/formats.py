"""Numbers as readers see them: a true minus sign, few decimals, a dash if there is no number."""

import math
from typing import TypeGuard

MISSING = "–"
NARROW_SPACE = "\u202f"


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal: 0.684 is `68.4 %`."""
    return MISSING if not _given(share) else f"{plain(100 * share, 1)}{NARROW_SPACE}%"


def percent_range(low: float | None, high: float | None) -> str:
    """Two shares as a range: `60.2 to 76.2 %`."""
    if not _given(low) or not _given(high):
        return MISSING
    return f"{plain(100 * low, 1)} to {plain(100 * high, 1)}{NARROW_SPACE}%"


def number(value: float | None, digits: int | None = None) -> str:
    """A number with `digits` decimals, or with as many as suit its size."""
    return MISSING if not _given(value) else plain(value, decimals(value) if digits is None else digits)


def signed(value: float | None, digits: int | None = None) -> str:
    """A change: like `number`, with a plus sign if it is above zero."""
    text = number(value, digits)
    return f"+{text}" if _given(value) and value > 0 and text.strip("0.") else text


def whole(value: float | None) -> str:
    """A count, with narrow spaces between thousands."""
    return MISSING if not _given(value) else f"{round(value):,}".replace(",", NARROW_SPACE).replace("-", "−")


def decimals(*values: float | None) -> int:
    """The decimals that fit the largest of some numbers: three below 10, two below 100, one above."""
    largest = max((abs(value) for value in values if _given(value)), default=0.0)
    return 3 if largest < 10 else 2 if largest < 100 else 1


def plain(value: float, digits: int) -> str:
    """A finite number with `digits` decimals and a true minus sign; zero has none."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def _given(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)
