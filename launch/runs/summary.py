"""The outcome of a run: summary.json, manifest.json, and the tables at its end."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from launch.local.state import RunState, StepState
from launch.local.view import clock, memory
from launch.runs.folder import read_json
from launch.tables import table
from preflow.identity import digest_files, digest_json

_REWARD_MODEL = ("accuracy", "accuracy_low", "accuracy_high", "baseline_longer", "baseline_similarity")
_EVALUATED = (
    *("prompts", "lead", "win_rate", "win_rate_low", "win_rate_high", "win_rates", "temperatures", "best_base"),
    *("kl", "kl_high", "base", "tuned", "canaries", "reward_model_test"),
)
FIGURES = {
    **{name: name for name in _EVALUATED},
    **{name if name.startswith("baseline") else f"reward_model_{name}": name for name in _REWARD_MODEL},
}
"""What a run came to, as its evaluation names it; for those of the reward model, as its own summary names it."""
_DIGEST_UP_TO_BYTES = 16 * 1024 * 1024


def summarise(
    pipeline: str, run_id: str, status: str, state: RunState, parameters: Mapping[str, Any], image: str = ""
) -> dict[str, Any]:
    """The figures of a run: those that its evaluation wrote, which are also in its record. The missing ones are null.

    Args:
        pipeline: The pipeline's name.
        run_id: The run's name.
        status: `succeeded`, `failed` or `interrupted`.
        state: The run as it ended.
        parameters: All parameters but the run's name, for their digest.
        image: Id of the image in whose containers the steps ran; '' if they were processes of this machine.
    """
    steps = state.steps.values()
    figures = _read(state, "evaluations", "summary.json")
    if not figures:  # the run ended before its evaluation
        reward = _read(state, "reward_model", "summary.json")
        figures = {name: reward.get(source) for name, source in FIGURES.items() if source in _REWARD_MODEL}
    verdict = _read(state, "verdict")
    peaks = {step.step.name: round(step.peak_memory_mb, 1) for step in steps if step.peak_memory_mb}
    failure = state.failure()
    return {
        "pipeline": pipeline,
        "run_id": run_id,
        "status": status,
        "place": "docker" if image else "local",
        **{name: figures.get(name) for name in FIGURES},
        "verdict": verdict or None,
        "promoted": verdict.get("promoted"),
        "reason": verdict.get("reason"),
        "seconds": {
            step.step.name: 0.0 if step.status == "cached" else round(step.seconds, 2)
            for step in steps
            if step.status != "waiting"
        },
        "images": {step.step.name: image for step in steps if image and step.status != "waiting"},
        "cached": [step.step.name for step in steps if step.status == "cached"],
        "peak_memory_mb": {**peaks, "max": max(peaks.values(), default=0.0)},
        "parameters": digest_json(dict(parameters)),
        "failed_step": failure.step.name if failure else None,
        "error": failure.error if failure else None,
    }


def manifest(pipeline: str, run_id: str, resolved: Mapping[str, Any], state: RunState) -> dict[str, Any]:
    """What the launcher filled in, and every artifact with URI, type and the digest of its content if it is small."""
    artifacts = [
        {
            "step": step.step.name,
            "name": name,
            "type": artifact.schema_title,
            "uri": artifact.uri,
            "cached": step.status == "cached",
            "digest": _digest(Path(artifact.path)),
        }
        for step, name, artifact in _artifacts(state)
    ]
    return {"pipeline": pipeline, "run_id": run_id, "resolved": dict(resolved), "artifacts": artifacts}


def report_files(state: RunState) -> dict[str, Path]:
    """The run's report by its file name in the run's folder; the last step's if several made one."""
    names = {"system.HTML": "report.html", "system.Markdown": "report.md"}
    found = {names.get(artifact.schema_title): Path(artifact.path) for _, _, artifact in _artifacts(state)}
    return {name: path for name, path in found.items() if name and path.is_file()}


def _artifacts(state: RunState) -> Iterator[tuple[StepState, str, Any]]:
    """Every artifact of a run, with its step and its name."""
    for step in state.steps.values():
        for name, value in step.outputs.items():
            for artifact in value if isinstance(value, list) else [value]:
                if hasattr(artifact, "schema_title"):
                    yield step, name, artifact


def print_summary(summary: Mapping[str, Any], run: Path, console: Console) -> None:
    """Prints the tables of a finished run, and last the path of its report."""
    if summary["reward_model_accuracy"] is not None:
        console.print(_reward_table(summary))
    if summary["temperatures"]:
        console.print(_judges_table(summary["temperatures"], summary["lead"], summary["best_base"] or {}))
    if summary["base"] and summary["tuned"]:
        console.print(_models_table(summary["base"], summary["tuned"], summary["kl"], summary["kl_high"]))
    console.print(_steps_table(summary))
    if summary["reason"]:
        console.print(Text(summary["reason"]), soft_wrap=True)
    report = run / "report.html"
    console.print(Text(f"report: {report}" if report.exists() else f"run: {run}"), soft_wrap=True)


def number(value: Any) -> str:
    """A figure with four significant digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:.4g}"


def _reward_table(summary: Mapping[str, Any]) -> Table:
    rows = table("reward model", "accuracy")
    low, high = summary["reward_model_accuracy_low"], summary["reward_model_accuracy_high"]
    between = f" ({number(low)} to {number(high)})" if low is not None else ""
    rows.add_row("trained", number(summary["reward_model_accuracy"]) + between)
    rows.add_row("baseline: the longer answer", number(summary["baseline_longer"]))
    rows.add_row("baseline: similarity to the prompt", number(summary["baseline_similarity"]))
    return rows


def _judges_table(
    temperatures: Mapping[str, Mapping[str, Mapping[str, Any]]], lead: str | None, best_base: Mapping[str, Any]
) -> Table:
    """How often the tuned model wins, by judge and temperature; last, against the base model at its best."""
    names = ["greedy" if name == "0" else f"at {name}" for name in temperatures]
    rows = table("tuned wins", *(column for name in names for column in (name, "interval")))
    for judge in dict.fromkeys(judge for rates in temperatures.values() for judge in rates):
        found = [rates.get(judge, {}) for rates in temperatures.values()]
        cells = [(number(rate.get("win_rate")), _interval(rate.get("low"), rate.get("high"))) for rate in found]
        rows.add_row(f"{judge} (leads)" if judge == lead else judge, *(cell for pair in cells for cell in pair))
    if best_base.get("win_rate") is not None:
        rows.add_section()
        against = f"{lead}, base at its best: {best_base['temperature']:g}"
        rows.add_row(against, number(best_base["win_rate"]), _interval(best_base["low"], best_base["high"]))
    return rows


def _models_table(base: Mapping[str, Any], tuned: Mapping[str, Any], kl: Any, kl_high: Any) -> Table:
    rows = table("metric, greedy", "base", "tuned")
    for name in [*base, *(name for name in tuned if name not in base)]:
        rows.add_row(name, number(base.get(name)), number(tuned.get(name)))
    rows.add_row("KL from the base, nats per answer (at most)", "", f"{number(kl)} ({number(kl_high)})")
    return rows


def _steps_table(summary: Mapping[str, Any]) -> Table:
    rows = table("step", "time", "peak memory")
    for step, seconds in summary["seconds"].items():
        cached = step in summary["cached"]
        rows.add_row(step, "cached" if cached else clock(seconds), memory(summary["peak_memory_mb"].get(step, 0)))
    rows.add_section()
    rows.add_row("all", clock(sum(summary["seconds"].values())), memory(summary["peak_memory_mb"]["max"]))
    return rows


def _interval(low: Any, high: Any) -> str:
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def _read(state: RunState, output: str, file: str = "") -> dict[str, Any]:
    """The object in the JSON file of an output, or in a file of its folder; empty where there is none."""
    artifact = _output(state, output)
    return read_json(Path(artifact.path) / file) if artifact else {}


def _output(state: RunState, name: str) -> Any:
    return next((step.outputs[name] for step in state.steps.values() if name in step.outputs), None)


def _digest(path: Path) -> str | None:
    if not path.is_file() or path.stat().st_size > _DIGEST_UP_TO_BYTES:
        return None
    return digest_files([path], path.parent)
