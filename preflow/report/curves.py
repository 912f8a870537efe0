"""Small line charts over the updates of training, or over the KL from the start: values in, SVG coordinates out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preflow.evaluation.formats import MISSING, plain

# Geometry in SVG units; the template's viewBox is WIDTH x HEIGHT.
WIDTH, HEIGHT = 240, 140
LEFT, RIGHT, TOP, BOTTOM = 40, 6, 8, 22
_VALIDATION = "validation/"
_Scale = Callable[[float], float]
_MARKED = 12  # up to this many updates each value gets a dot


@dataclass(frozen=True)
class Spec:
    """A chart to draw: its title, unit and the columns of the training log it shows, by name.

    `share` values are shown in per cent. `bounds` are values that the vertical axis always includes, such as the zero
    of a measure that cannot be negative, so that noise near a constant does not look like a trend. With `over_kl` the
    horizontal axis is the square root of the KL from the start (arXiv:2210.10760): there an over-optimized reward
    visibly bends.
    """

    title: str
    unit: str
    columns: Mapping[str, str]
    share: bool = False
    bounds: tuple[float, ...] = ()
    over_kl: bool = False


CHARTS = (
    Spec("Reward", "reward model's score", {"reward_mean": "mean"}),
    Spec("KL from the start", "nats per answer", {"kl": "mean"}, bounds=(0.0,)),
    Spec("Answer length", "tokens", {"response_tokens_mean": "mean", "response_tokens_p95": "95th percentile"}),
    Spec("Ended by themselves", "% of answers", {"eos_rate": "share"}, share=True, bounds=(0.0, 100.0)),
    Spec("Entropy", "nats per token", {"entropy": "mean"}, bounds=(0.0,)),
    Spec("Approximate KL per update", "nats per token", {"approx_kl": "mean"}, bounds=(0.0,)),
    Spec("Clipped ratios", "% of tokens", {"clip_fraction": "share"}, share=True, bounds=(0.0,)),
    Spec("Explained variance", "value function, at most 1", {"explained_variance": "share"}, bounds=(0.0,)),
)


@dataclass(frozen=True)
class Series:
    """One line of a chart: `lines` are the points of its unbroken pieces, `dots` the values drawn with a mark."""

    name: str
    lines: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    last: str


@dataclass(frozen=True)
class Chart:
    """A chart ready to draw. `y_ticks` are (coordinate, label); `x_ticks` are (coordinate, label, text anchor)."""

    title: str
    unit: str
    series: tuple[Series, ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str, str], ...]
    lowest: str
    highest: str
    first: str
    last: str


def _scale(low: float, high: float, start: float, end: float) -> _Scale:
    """A linear map of [low, high] to [start, end], rounded; a single value is put in the middle."""
    if high == low:
        return lambda _: round((start + end) / 2, 2)
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 2)


def training_charts(log: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """The charts of a training log; one whose columns hold no number is left out, so an empty log gives none.

    A chart leaves out the rows without its columns: validation prompts are answered at some updates only.
    """
    charts = [
        _chart(spec, [row for row in log if any(column in row for column in spec.columns)])
        for spec in (*CHARTS, *_validation_charts(log))
    ]
    return [chart for chart in charts if chart is not None]


def _validation_charts(log: Sequence[Mapping[str, Any]]) -> list[Spec]:
    """The reward and the monitors on validation prompts, which nothing is trained on."""
    names = dict.fromkeys(key for row in log for key in row if key.startswith(_VALIDATION))
    own = (f"{_VALIDATION}reward", f"{_VALIDATION}falling_monitors")
    columns = {key: key.removeprefix(_VALIDATION).replace("_", " ") for key in names if key not in own}
    return [
        Spec("Reward on validation prompts", "what PPO optimizes", {own[0]: "mean"}, over_kl=True),
        Spec("Monitors on validation prompts", "mean score, 0 to 1", columns, over_kl=True),
    ]


def nice_ticks(low: float, high: float) -> list[float]:
    """Two to five round numbers that enclose [low, high], evenly spaced by 1, 2 or 5 times a power of ten."""
    if high <= low:
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    start, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(start, end + 1)]


def _chart(spec: Spec, log: Sequence[Mapping[str, Any]]) -> Chart | None:
    if spec.over_kl:
        log = sorted(log, key=_distance)
        positions = [_distance(row) for row in log]
    else:
        updates = [_finite(row.get("update")) for row in log]
        positions = [float(number) if update is None else update for number, update in enumerate(updates, 1)]
    factor = 100.0 if spec.share else 1.0
    columns = {
        name: [None if (value := _finite(row.get(key))) is None else factor * value for row in log]
        for key, name in spec.columns.items()
    }
    numbers = [value for values in columns.values() for value in values if value is not None]
    if not numbers:
        return None
    ticks = nice_ticks(min([*numbers, *spec.bounds]), max([*numbers, *spec.bounds]))
    across = _scale(min(positions), max(positions), LEFT, WIDTH - RIGHT)
    up = _scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    finer = max(digits + 1, 1 if ticks[-1] >= 10 else 2)
    series = tuple(_series(name, positions, values, across, up, finer) for name, values in columns.items())
    main = next(shown for values in columns.values() if (shown := [value for value in values if value is not None]))
    return Chart(
        title=spec.title,
        unit=spec.unit,
        series=series,
        y_ticks=tuple((up(tick), plain(tick, digits)) for tick in ticks),
        x_ticks=_across_ticks(positions, across, "√KL {:.1f}" if spec.over_kl else "update {:g}"),
        lowest=plain(min(main), finer),
        highest=plain(max(main), finer),
        first=plain(main[0], finer),
        last=plain(main[-1], finer),
    )


def _series(
    name: str, positions: Sequence[float], values: Sequence[float | None], across: _Scale, up: _Scale, digits: int
) -> Series:
    """Coordinates of one line, broken where values are missing; an isolated value gets a dot."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for position, value in zip(positions, values, strict=True):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((across(position), up(value)))
    points = [point for piece in pieces for point in piece]
    isolated = [piece[0] for piece in pieces if len(piece) == 1]
    given = [value for value in values if value is not None]
    return Series(
        name=name,
        lines=tuple(" ".join(f"{x},{y}" for x, y in piece) for piece in pieces if len(piece) > 1),
        dots=tuple(points if len(points) <= _MARKED else [*isolated, points[-1]]),
        last=plain(given[-1], digits) if given else MISSING,
    )


def _across_ticks(positions: Sequence[float], across: _Scale, label: str) -> tuple[tuple[float, str, str], ...]:
    first, last = min(positions), max(positions)
    if first == last:
        return ((across(first), label.format(first), "middle"),)
    short = label.partition(" ")[2].format(last)
    return ((across(first), label.format(first), "start"), (across(last), short, "end"))


def _distance(row: Mapping[str, Any]) -> float:
    return math.sqrt(max(0.0, _finite(row.get("kl")) or 0.0))


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
