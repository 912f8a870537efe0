"""Both sides in turn: SmolLM2-135M, 32 episodes an update, prompts of about 48 tokens, responses of up to 64, 4 epochs.

python -m benchmarks.ppo TRL_PYTHON [UPDATES]; the last line is JSON. `make bench-ppo` makes the environment of TRL.
"""

import json
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.ppo.sides import make_inputs, preflow_command, rows_of, trl_command

_PHASES = ("sampling", "scoring", "evaluation", "update")


def main(trl_python: str, updates: int) -> None:
    """Prints a table of all sides, then as JSON the same figures and the ratios over the better of TRL's dtypes."""
    trl, ours = trl_command(trl_python), preflow_command()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_inputs(folder)
        sides = {
            "preflow, defaults": measured(ours, folder, {"updates": updates}),
            "preflow, like for like": measured(ours, folder, {"updates": updates, "like_for_like": True}),
            "preflow, like for like, 4 samples a prompt": measured(
                ours, folder, {"updates": updates, "like_for_like": True, "samples_per_prompt": 4}
            ),
            "TRL 1.12, bfloat16 weights": measured(
                trl, folder, {"updates": updates, "dtype": "bfloat16", "weights": "bfloat16"}
            ),
            "TRL 1.12, `bf16=True`": measured(trl, folder, {"updates": updates, "dtype": "bfloat16"}),
            "TRL 1.12, float32": measured(trl, folder, {"updates": updates, "dtype": "float32"}),
        }
    for name, side in sides.items():
        print(table_row(name, side))
    figures = {name: {key: round(value, 3) for key, value in side.items()} for name, side in sides.items()}
    print(json.dumps({**ratios(sides), "sides": figures}))


def measured(command: list[str], folder: Path, settings: dict[str, Any]) -> dict[str, float]:
    """The means of all updates of a side but the first, in which memory is laid out."""
    rows = rows_of(command, folder, settings)
    for row in rows:
        others = sum(row[f"seconds_{phase}"] for phase in _PHASES[:3])
        row["seconds_update"] = row["seconds"] - others
    counted = rows[1:] or rows
    episodes = rows[0]["episodes"]
    return {
        "episodes_per_second": episodes / mean(row["seconds"] for row in counted),
        **{phase: mean(row[f"seconds_{phase}"] for row in counted) for phase in _PHASES},
        "response_tokens": mean(row["response_tokens_mean"] for row in counted),
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
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
