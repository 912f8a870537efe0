"""Both sides in turn: SmolLM2-135M, 32 episodes an update, prompts of about 48 tokens, responses of up to 64, 4 epochs.

python -m benchmarks.ppo TRL_PYTHON [UPDATES a run]; the last line is JSON. `make bench-ppo` makes TRL's environment.
"""

import json
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.ppo.sides import make_inputs, preflow_command, rows_of, trl_command

_PHASES = ("sampling", "scoring", "evaluation", "update")
_SIDES: dict[str, dict[str, Any]] = {
    "preflow, defaults": {},
    "preflow, like for like": {"like_for_like": True},
    "preflow, like for like, 4 samples a prompt": {"like_for_like": True, "samples_per_prompt": 4},
    "TRL 1.12, bfloat16 weights": {"dtype": "bfloat16", "weights": "bfloat16"},
    "TRL 1.12, `bf16=True`": {"dtype": "bfloat16"},
    "TRL 1.12, float32": {"dtype": "float32"},
}
_EPISODES = 32  # an update
_ONCE = 2  # the last ones are far behind, and slow


def main(trl_python: str, updates: int) -> None:
    """Prints a table of all sides, then as JSON the same figures and the ratios over the better of TRL's dtypes.

    The sides run forth and back, so that a machine that becomes faster or slower meanwhile favours none of them.
    """
    forth = list(_SIDES)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in forth}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_inputs(folder)
        for name in (*forth, *reversed(forth[:-_ONCE])):
            command = trl_command(trl_python) if name.startswith("TRL") else preflow_command()
            found = rows_of(command, folder, {"updates": updates, **_SIDES[name]})
            rows[name] += found[1:] or found  # in the first update memory is laid out
    sides = {name: means(found) for name, found in rows.items()}
    for name, side in sides.items():
        print(table_row(name, side))
    figures = {name: {key: round(value, 3) for key, value in side.items()} for name, side in sides.items()}
    print(json.dumps({**ratios(sides), "sides": figures}))


def means(rows: list[dict[str, Any]]) -> dict[str, float]:
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


def table_row(name: str, side: dict[str, float]) -> str:
    """A row of a Markdown table."""
    phases = " | ".join(f"{side[phase]:.1f}" for phase in _PHASES)
    speed, memory = side["episodes_per_second"], side["peak_memory"] / 1e9
    return f"| {name} | {speed:.2f} | {phases} | {side['response_tokens']:.0f} | {memory:.1f} |"


def ratios(sides: dict[str, dict[str, float]]) -> dict[str, float]:
    """Preflow over TRL: episodes per second and peak memory, of TRL the better of each."""
    trl = [side for name, side in sides.items() if name.startswith("TRL")]
    speed = max(side["episodes_per_second"] for side in trl)
    memory = min(side["peak_memory"] for side in trl)
    defaults, alike = sides["preflow, defaults"], sides["preflow, like for like"]
    several = sides["preflow, like for like, 4 samples a prompt"]
    return {
        "ratio": round(defaults["episodes_per_second"] / speed, 2),
        "memory_ratio": round(defaults["peak_memory"] / memory, 2),
        "like_for_like_ratio": round(alike["episodes_per_second"] / speed, 2),
        "like_for_like_4_samples_ratio": round(several["episodes_per_second"] / speed, 2),
    }


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2)
