"""What a run came to: summary.json, manifest.json, and the table at the end."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.live import clock, memory
from pipelines.state import RunState, StepState
from pipelines.tables import table
from preflow.identity import digest_files, digest_json

_FROM_EVALUATION = ("win_rate", "win_rate_low", "win_rate_high", "win_rates", "kl", "base", "tuned")
_FROM_REWARD_MODEL = ("accuracy", "accuracy_low", "accuracy_high", "baseline_longer", "baseline_similarity")
_DIGEST_UP_TO_BYTES = 16 * 1024 * 1024


def summarise(
    pipeline: str, run_id: str, status: str, state: RunState, parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """The figures of a run. What a run did not come to is null.

    Args:
        pipeline: The pipeline's name.
        run_id: The run's name.
        status: `succeeded`, `failed` or `interrupted`.
        state: The run as it ended.
        parameters: All parameters but the run's name, for their digest.
    """
    steps = state.steps.values()
    evaluation = _metadata(steps, "evaluations")
    reward = _metadata(steps, "reward_model")
    peaks = {step.step.name: round(step.peak_memory_mb, 1) for step in steps if step.peak_memory_mb}
    failure = state.failure()
    return {
        "pipeline": pipeline,
        "run_id": run_id,
        "status": status,
        **{key: _ordered(evaluation.get(key)) for key in _FROM_EVALUATION},
        **{key if key.startswith("baseline") else f"reward_model_{key}": reward.get(key) for key in _FROM_REWARD_MODEL},
        "promoted": _output(steps, "promoted"),
        "reason": _output(steps, "reason"),
        "seconds": {
            step.step.name: 0.0 if step.status == "cached" else round(step.seconds, 2)
            for step in steps
            if step.status != "waiting"
        },
        "cached": [step.step.name for step in steps if step.status == "cached"],
        "peak_memory_mb": {**peaks, "max": max(peaks.values(), default=0.0)},
        "parameters": digest_json(dict(parameters)),
        "failed_step": failure.step.name if failure else None,
        "error": failure.error if failure else None,
    }


def _ordered(value: Any) -> Any:
    """A map by name, what is named after the label score first: artifact metadata come back in any order."""
    if not isinstance(value, Mapping):
        return value
    return {name: value[name] for name in sorted(value, key=lambda name: (not name.startswith("label_score"), name))}


def manifest(pipeline: str, run_id: str, resolved: Mapping[str, Any], state: RunState) -> dict[str, Any]:
    """What the launcher resolved, and every artifact with place, type and content digest (of small files)."""
    from kfp.dsl import Artifact

    artifacts = []
    for step in state.steps.values():
        for key, value in step.outputs.items():
            for artifact in value if isinstance(value, list) else [value]:
                if isinstance(artifact, Artifact):
                    artifacts.append(
                        {
                            "step": step.step.name,
                            "name": key,
                            "type": artifact.schema_title,
                            "uri": artifact.uri,
                            "cached": step.status == "cached",
                            "digest": _digest(Path(artifact.path)),
                        }
                    )
    return {"pipeline": pipeline, "run_id": run_id, "resolved": dict(resolved), "artifacts": artifacts}


def report_files(state: RunState) -> dict[str, Path]:
    """The run's report, by the name it gets in the run's folder; the last step that made one counts."""
    from kfp.dsl import HTML, Markdown

    found = {}
    for step in state.steps.values():
        for value in step.outputs.values():
            if isinstance(value, HTML | Markdown):
                name = "report.html" if isinstance(value, HTML) else "report.md"
                if Path(value.path).is_file():
                    found[name] = Path(value.path)
    return found


def print_summary(summary: Mapping[str, Any], run: Path, console: Console) -> None:
    """Prints the tables of a finished run; where the report is comes last."""
    if summary["reward_model_accuracy"] is not None:
        console.print(_reward_table(summary))
    if summary["win_rates"]:
        console.print(_judges_table(summary["win_rates"]))
    if summary["base"] and summary["tuned"]:
        console.print(_models_table(summary["base"], summary["tuned"], summary["kl"]))
    console.print(_steps_table(summary))
    if summary["reason"]:
        verdict = "promoted" if summary["promoted"] else "not promoted"
        console.print(Text(f"{verdict}: {summary['reason']}"), soft_wrap=True)
    report = run / "report.html"
    where = ("report: ", report) if report.exists() else ("run: ", run)
    console.print(Text(f"{where[0]}{where[1]}"), soft_wrap=True)


def number(value: Any) -> str:
    """A figure with at most four digits that count."""
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


def _judges_table(win_rates: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = table("judge", "tuned wins", "interval", "length-controlled", "interval")
    for judge, rate in win_rates.items():
        rows.add_row(
            judge,
            number(rate.get("win_rate")),
            _interval(rate.get("low"), rate.get("high")),
            number(rate.get("length_controlled")),
            _interval(rate.get("length_controlled_low"), rate.get("length_controlled_high")),
        )
    return rows


def _models_table(base: Mapping[str, Any], tuned: Mapping[str, Any], kl: float | None) -> Table:
    rows = table("metric", "base", "tuned")
    for name in [*base, *(name for name in tuned if name not in base)]:
        rows.add_row(name, number(base.get(name)), number(tuned.get(name)))
    rows.add_row("KL from the base, nats per answer", "", number(kl))
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


def _metadata(steps: Iterable[StepState], output: str) -> dict[str, Any]:
    return next(
        (dict(step.outputs[output].metadata) for step in steps if hasattr(step.outputs.get(output), "metadata")), {}
    )


def _output(steps: Iterable[StepState], name: str) -> Any:
    return next((step.outputs[name] for step in steps if name in step.outputs), None)


def _digest(path: Path) -> str | None:
    if not path.is_file() or path.stat().st_size > _DIGEST_UP_TO_BYTES:
        return None
    return digest_files([path], path.parent)
