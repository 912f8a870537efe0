"""Does the loop make a better model? Runs of the pipeline over settings and seeds, judged on validation prompts.

`make bench-learning ARGS="results.jsonl --settings settings.json --seeds 0 1 2"`: one row a run. Rows that the file
already holds are not run again, and runs share the steps that their settings do not touch, so a series that was stopped
goes on. `--test` judges on the packaged test prompts instead: once, at the end.

Settings are a JSON object of names and parameters, such as {"defaults": {}, "lower KL": {"kl_coeff": 0.05}}.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.outside_judge import OutsideJudge
from launch.local.run import run_local
from pipelines.compile import compile_pipeline
from preflow.home import preflow_home
from preflow.identity import is_held_out
from preflow.inputs import read_prompts
from preflow.rows import read_records, write_rows
from preflow.writing import write_text

_COLUMNS = ("lead at greedy", "at 0.7", "equal length", "w/o ended", "best base", "reward model", "outside", "KL")


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="JSON Lines file of one row a run")
    parser.add_argument("--settings", type=Path, help="JSON object of names and parameters; without it, the defaults")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--test", action="store_true", help="judge on the packaged test prompts")
    parser.add_argument("--outside-preferences", help="preferences of others, to judge by a reward model of their own")
    given = parser.parse_args()
    settings = json.loads(given.settings.read_text()) if given.settings else {"defaults": {}}
    known = [row for _, row in read_records(given.results)] if given.results.exists() else []
    done = {(row["name"], row["seed"], row["test"]) for row in known}
    with TemporaryDirectory() as scratch:
        judged_on = {} if given.test else {"eval_dataset": _validation_prompts(given.results.absolute().parent)}
        for seed in given.seeds:
            for name, parameters in settings.items():
                if (name, seed, given.test) not in done:
                    row = _run({**parameters, **judged_on, "seed": seed}, Path(scratch))
                    known.append({"name": name, "seed": seed, "test": given.test, "parameters": parameters, **row})
                    with given.results.open("a") as file:
                        file.write(json.dumps(known[-1]) + "\n")
    if given.outside_preferences and any("outside" not in row for row in known):
        judge = OutsideJudge(given.outside_preferences)
        known = [
            row if "outside" in row else {**row, "outside": judge.judge(_evaluations(row["run"]))} for row in known
        ]
        write_text(given.results, "".join(json.dumps(row) + "\n" for row in known))
    print(table(known))


def _validation_prompts(folder: Path) -> str:
    """Packaged prompts to judge with that are neither trained on nor the test prompts: the held-out quarter.

    Their file lies beside the results: at another place, a run that is repeated would find nothing in the cache.
    """
    rows = [row for _, row in read_prompts("packaged:prompts") if is_held_out(row.prompt_id)]
    file = folder / "validation_prompts.jsonl"
    write_rows(file, [row.model_copy(update={"split": "test"}) for row in rows])
    return str(file)


def _run(parameters: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """One run of the pipeline, as the figures that the table shows."""
    run = run_local(compile_pipeline("rlhf", scratch / "rlhf.yaml"), parameters, preflow_home())
    summary = json.loads((run / "summary.json").read_text())
    kept = (
        "lead",
        "temperatures",
        "best_base",
        "kl",
        "kl_high",
        "base",
        "tuned",
        "canaries",
        "reward_model_test",
        "verdict",
    )
    return {
        "run": run.name,
        **{name: summary[name] for name in kept},
        "reward_model_accuracy": summary["reward_model_accuracy"],
        "seconds": sum(summary["seconds"].values()),
    }


def _evaluations(run: str) -> Path:
    """The folder that a run's evaluation wrote."""
    manifest = json.loads((preflow_home() / "runs" / run / "manifest.json").read_text())
    [found] = [one["uri"] for one in manifest["artifacts"] if one["name"] == "evaluations"]
    return Path(found)


def table(rows: list[dict[str, Any]]) -> str:
    """The runs as Markdown."""
    lines = [f"| settings | seed | {' | '.join(_COLUMNS)} | promoted |", "|---|--:|" + "--:|" * len(_COLUMNS) + "---|"]
    for row in rows:
        greedy, lead = row["temperatures"]["0"], row["lead"] or "label_score"
        rates = [greedy.get(lead), row["temperatures"].get("0.7", {}).get(lead), _controlled(greedy.get(lead))]
        rates += [greedy.get("label_score_without_ended_properly"), row["best_base"], greedy.get("reward_model")]
        rates.append(_controlled(row.get("outside")))
        cells = [*map(_rate, rates), f"{row['kl']:.2f} (to {row['kl_high']:.2f})"]
        promoted = "yes" if row["verdict"]["promoted"] else "no"
        lines.append(f"| {row['name']} | {row['seed']} | {' | '.join(cells)} | {promoted} |")
    return "\n".join(lines)


def _controlled(rate: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A win rate at equal length."""
    keys = {"win_rate": "length_controlled", "low": "length_controlled_low", "high": "length_controlled_high"}
    return {name: rate[key] for name, key in keys.items()} if rate else None


def _rate(rate: Mapping[str, Any] | None) -> str:
    if not rate or rate["win_rate"] is None:
        return ""
    return f"{rate['win_rate']:.2f} [{rate['low']:.2f}, {rate['high']:.2f}]"


if __name__ == "__main__":
    main()
