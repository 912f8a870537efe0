"""The two sides as processes of their own: what runs them, and the rows they print."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def make_inputs(folder: Path) -> None:
    """Writes what both sides are given, in a process of its own: a child's peak memory is never below its parent's."""
    subprocess.run([sys.executable, "-m", "benchmarks.ppo.inputs", str(folder)], check=True)


def preflow_command() -> list[str]:
    """What runs preflow, in this environment."""
    return [sys.executable, "-m", "benchmarks.ppo.preflow_side"]


def trl_command(python: str) -> list[str]:
    """What runs TRL, in the environment of `python`."""
    return [python, str(Path(__file__).parent / "trl_side.py")]


def rows_of(command: list[str], folder: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs a side on the inputs in `folder` and gives one row an update."""
    print(f"{' '.join(command[-1:])} {json.dumps(settings)}", file=sys.stderr, flush=True)
    arguments = [*command, str(folder), json.dumps(settings)]
    output = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in output.stdout.splitlines() if line.startswith("{")]
