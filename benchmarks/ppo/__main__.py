"""All sides in turn, on prompts of about 48 tokens; what each of them does is in `sides.py`.

python -m benchmarks.ppo TRL_PYTHON [--updates N] [--rows FILE]; the last line is JSON. `make bench-ppo` makes TRL's
environment. Each finished run is a line of FILE at once, and a run that was interrupted continues there.
"""

import json
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.ppo.sides import SIDES, WHOLE_TRL, make_inputs, rows_of, settings_of
from preflow.code_digest import code_digest
from preflow.ppo import PPOConfig

_PHASES = ("sampling", "scoring", "evaluation", "update")
_EPISODES = PPOConfig().batch_size  # an update


def main(trl_python: str, updates: int, file: Path) -> None:
    """Prints a table of all sides, then as JSON the same figures and the ratios over TRL."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SIDES}
    for name, found in finished_runs(trl_python, updates, file):
        rows[name] += found[1:] or found  # in the first update memory is laid out
    sides = {name: means(found) for name, found in rows.items()}
    for name, side in sides.items():
        print(table_row(name, side))
    figures = {name: {key: round(value, 3) for key, value in side.items()} for name, side in sides.items()}
    print(json.dumps({**ratios(sides), "updates": updates, "sides": figures}))
    file.unlink()


def finished_runs(trl_python: str, updates: int, file: Path) -> list[tuple[str, list[dict[str, Any]]]]:
    """Every run's side and rows. `file` gets a line as soon as a run is done; what it holds already is not run again.

    The sides run forth and back, so that a machine that becomes faster or slower meanwhile favours none of them.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    done = {json.dumps(line["run"]): line["rows"] for line in lines}
    code = code_digest("preflow.ppo.trainer")
    twice = [name for name, side in SIDES.items() if side.runs == 2]
    runs = []
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number, name in enumerate((*SIDES, *reversed(twice))):
            settings = settings_of(name, updates)
            run = json.dumps({"number": number, "side": name, "settings": settings, "code": code})
            if run not in done:
                if not list(folder.iterdir()):
                    make_inputs(folder)
                done[run] = rows_of(name, trl_python, folder, settings)
                with file.open("a") as output:
                    output.write(json.dumps({"run": json.loads(run), "rows": done[run]}) + "\n")
            runs.append((name, done[run]))
    return runs


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The means of a side's updates."""
    phases = {phase: mean(row[f"seconds_{phase}"] for row in rows) for phase in _PHASES[:-1]}
    seconds = mean(row["seconds"] for row in rows)
    return {
        "episodes_per_second": _EPISODES / seconds,
        **phases,
        "update": seconds - sum(phases.values()),
        "slowest_over_fastest": max(row["seconds"] for row in rows) / min(row["seconds"] for row in rows),
        "response_tokens": mean(row["response_tokens_mean"] for row in rows),
        "peak_memory": max(row["peak_memory"] for row in rows),
    }


def table_row(name: str, side: Mapping[str, float]) -> str:
    """A row of a Markdown table."""
    phases = " | ".join(f"{side[phase]:.1f}" for phase in _PHASES)
    speed, memory = side["episodes_per_second"], side["peak_memory"] / 1e9
    return f"| {name} | {speed:.2f} | {phases} | {side['response_tokens']:.0f} | {memory:.1f} |"


def ratios(sides: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Preflow over TRL: episodes per second and peak memory; of TRL with whole weights, the best of each."""
    speed = {name: side["episodes_per_second"] for name, side in sides.items()}
    memory = {name: side["peak_memory"] for name, side in sides.items()}
    fastest, smallest = max(speed[name] for name in WHOLE_TRL), min(memory[name] for name in WHOLE_TRL)
    defaults, adapters = "preflow, defaults", "TRL 1.12, same adapters"
    without, rloo = "preflow, no critic", "TRL 1.16, RLOO, same adapters"
    found = {
        "same_adapters_ratio": speed[defaults] / speed[adapters],
        "same_adapters_memory_ratio": memory[defaults] / memory[adapters],
        "rloo_ratio": speed[without] / speed[rloo],
        "rloo_memory_ratio": memory[without] / memory[rloo],
        "ratio": speed[defaults] / fastest,
        "memory_ratio": memory[defaults] / smallest,
        "like_for_like_ratio": speed["preflow, like for like"] / fastest,
        "like_for_like_4_samples_ratio": speed["preflow, like for like, 4 samples a prompt"] / fastest,
    }
    return {name: round(value, 2) for name, value in found.items()}


if __name__ == "__main__":
    parser = ArgumentParser(prog="python -m benchmarks.ppo", description=__doc__)
    parser.add_argument("trl_python", help="Python of the environment with TRL 1.12")
    parser.add_argument("--updates", type=int, default=2, help="updates a run; the first does not count")
    parser.add_argument("--rows", type=Path, default=Path("build/bench-ppo.jsonl"), help="file of finished runs")
    arguments = parser.parse_args()
    main(arguments.trl_python, arguments.updates, arguments.rows)
