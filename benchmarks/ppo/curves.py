"""Learning curves of both sides: reward, KL and length, over episodes and over seconds.

python -m benchmarks.ppo.curves TRL_PYTHON FOLDER [UPDATES] writes FOLDER/curves.jsonl, a row an update of each side,
and FOLDER/curves.svg.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.ppo.sides import make_inputs, rows_of, settings_of
from preflow.report.curves import nice_ticks

_TRL_LEARNING_RATE = 2e-5  # of whole models, several times TRL's default, to see something in few updates
_MORE = 3  # so many times the updates with preflow, which is that much faster
_SIDES = {"preflow, defaults": "#1f6feb", "TRL 1.12, float32": "#bc4c00"}
_ROWS = {"reward_mean": "reward", "kl": "KL, nats a response", "response_tokens_mean": "tokens a response"}
_COLUMNS = {"episode": "episodes", "elapsed": "seconds"}
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 360, 170, 58, 52, 64


def main(trl_python: str, output: Path, updates: int) -> None:
    """Runs the sides in turn and writes what they reported."""
    runs = {
        "preflow, defaults": settings_of("preflow, defaults", _MORE * updates),
        "TRL 1.12, float32": settings_of("TRL 1.12, float32", updates, learning_rate=_TRL_LEARNING_RATE),
    }
    table: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        make_inputs(Path(scratch))
        for side, settings in runs.items():
            elapsed = 0.0
            for row in rows_of(side, trl_python, Path(scratch), settings):
                elapsed += row["seconds"]
                kept = {name: round(row[name], 4) for name in _ROWS}
                table.append({"side": side, "episode": row["episodes"], "elapsed": round(elapsed, 1), **kept})
    output.mkdir(parents=True, exist_ok=True)
    (output / "curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    (output / "curves.svg").write_text(drawn(table))


def drawn(table: Sequence[dict[str, Any]]) -> str:
    """An SVG of a chart for each measure (rows) over each axis (columns)."""
    parts = [
        f'<text x="{_LEFT + 190 * number}" y="16" fill="{color}">{escape(side)}</text>'
        for number, (side, color) in enumerate(_SIDES.items())
    ]
    for down, (measure, unit) in enumerate(_ROWS.items()):
        for across, (axis, title) in enumerate(_COLUMNS.items()):
            corner = (_LEFT + across * (_WIDTH + _GAP), _TOP + down * (_HEIGHT + _GAP))
            parts += _chart(table, measure, unit, axis, title, corner)
    size = (_LEFT + 2 * (_WIDTH + _GAP), _TOP + 3 * (_HEIGHT + _GAP))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}" font-family="sans-serif"'
    return "\n".join([f'{head} font-size="12">', '<rect width="100%" height="100%" fill="white"/>', *parts, "</svg>\n"])


def _chart(
    table: Sequence[dict[str, Any]], measure: str, unit: str, axis: str, title: str, corner: tuple[int, int]
) -> list[str]:
    left, top = corner
    up = nice_ticks(min(row[measure] for row in table), max(row[measure] for row in table))
    right = nice_ticks(0, max(row[axis] for row in table))

    def point(row: dict[str, Any]) -> str:
        x = left + _WIDTH * row[axis] / right[-1]
        return f"{x:.1f},{_height(row[measure], up, top):.1f}"

    parts = [f'<text x="{left}" y="{top - 8}" font-weight="bold">{escape(unit)}</text>']
    for tick in up:
        y = _height(tick, up, top)
        parts.append(f'<path d="M{left} {y:.1f}h{_WIDTH}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for tick in right:
        x = left + _WIDTH * tick / right[-1]
        parts.append(f'<text x="{x:.1f}" y="{top + _HEIGHT + 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{left + _WIDTH}" y="{top + _HEIGHT + 32}" text-anchor="end">{title}</text>')
    for side, color in _SIDES.items():
        points = " ".join(point(row) for row in table if row["side"] == side)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
    return parts


def _height(value: float, ticks: Sequence[float], top: int) -> float:
    return top + _HEIGHT * (ticks[-1] - value) / (ticks[-1] - ticks[0])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 8)
