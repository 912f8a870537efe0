"""Finished runs under a home: the list, and two of them side by side."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from launch.runs.folder import read_json
from launch.runs.summary import number
from launch.tables import table
from preflow.errors import PreflowError

_METRICS = (
    *("status", "reward_model_accuracy", "lead", "win_rate", "win_rate_low", "win_rate_high", "kl", "kl_high"),
    "promoted",
)


def find_run(home: Path, prefix: str) -> Path:
    """The one run whose id starts with `prefix`.

    Raises:
        PreflowError: There is none, or more than one.
    """
    names = [path.name for path in _folders(home) if path.name.startswith(prefix)]
    if prefix in names:
        names = [prefix]
    if not names:
        raise PreflowError(f"no run starts with '{prefix}' under {home / 'runs'}; `preflow runs` lists them")
    if len(names) > 1:
        raise PreflowError(f"'{prefix}' fits {len(names)} runs: {', '.join(names[:5])}; give more of the id")
    return home / "runs" / names[0]


def print_runs(home: Path, console: Console) -> None:
    """Prints all runs of a home, the latest last."""
    folders = _folders(home)
    runs = table("run", "status", "accuracy", "win rate", "kl", "promoted", "time")
    for folder in folders:
        summary = read_json(folder / "summary.json")
        runs.add_row(
            folder.name,
            summary.get("status") or "unfinished",
            number(summary.get("reward_model_accuracy")),
            number(summary.get("win_rate")),
            number(summary.get("kl")),
            "" if summary.get("promoted") is None else ("yes" if summary["promoted"] else "no"),
            f"{sum(summary.get('seconds', {}).values()):.0f} s",
        )
    if not folders:
        console.print(f"no runs yet under {home / 'runs'}", highlight=False, soft_wrap=True)
        return
    console.print(runs)


def print_comparison(home: Path, first: str, second: str, console: Console) -> None:
    """Prints which parameters of two runs differ, and their metrics side by side.

    Raises:
        PreflowError: A run is not found.
    """
    folders = (find_run(home, first), find_run(home, second))
    names = [folder.name for folder in folders]
    settings = [
        {**read_json(folder / "parameters.json"), **read_json(folder / "manifest.json").get("resolved", {})}
        for folder in folders
    ]
    differing = [name for name in _keys(*settings) if settings[0].get(name) != settings[1].get(name)]
    parameters = table("parameter", *names)
    for name in differing:
        parameters.add_row(name, *(Text(json.dumps(setting.get(name), ensure_ascii=False)) for setting in settings))
    console.print(parameters if differing else "same parameters")

    metrics = [dict(_metrics(read_json(folder / "summary.json"))) for folder in folders]
    side_by_side = table("metric", *names)
    for name in _keys(*metrics):
        side_by_side.add_row(name, *(number(values.get(name)) for values in metrics))
    console.print(side_by_side)


def _metrics(summary: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in _METRICS:
        yield name, summary.get(name)
    for temperature, rates in (summary.get("temperatures") or {}).items():
        for judge, rate in rates.items():
            yield f"win rate by {judge} at {temperature}", rate.get("win_rate")
    for name, value in (summary.get("tuned") or {}).items():
        yield f"tuned {name}", value
    yield "seconds", sum(summary.get("seconds", {}).values())
    yield "peak_memory_mb", summary.get("peak_memory_mb", {}).get("max")


def _keys(*mappings: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))


def _folders(home: Path) -> list[Path]:
    runs = home / "runs"
    folders = [path for path in runs.iterdir() if path.is_dir()] if runs.is_dir() else []
    return sorted(folders, key=lambda path: path.stat().st_ctime)
