"""Runs a compiled pipeline on this machine: resolves what caches cannot see, runs the steps, keeps what came of it."""

import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.engine import StepFailed, run_pipeline, step_environment
from pipelines.files import new_run_folder, write_bytes, write_json
from pipelines.live import shown
from pipelines.parameters import complete
from pipelines.processes import MemoryWatch, end_steps
from pipelines.resolve import absolute, code_version, digest_inputs
from pipelines.spec import RESOLVED, Pipeline, read_pipeline
from pipelines.state import RunState
from pipelines.summary import manifest, report_files, summarise
from pipelines.tables import output
from preflow.errors import PreflowError

_PPO_SETTINGS = {
    "train_steps": "reinforcement_learning_train_steps",
    "batch_size": "reinforcement_learning_batch_size",
    "learning_rate": "reinforcement_learning_learning_rate",
    "samples_per_prompt": "ppo_samples_per_prompt",
    "epochs": "ppo_epochs",
    "minibatches": "ppo_minibatches",
    "eval_steps": "ppo_eval_steps",
    "temperature": "sampling_temperature",
    **{name: name for name in ("kl_coeff", "missing_eos_penalty", "lora_rank", "target_sequence_length", "seed")},
}
"""The pipelines' parameters behind the settings of PPO."""


def run_local(pipeline_yaml: Path, parameters: Mapping[str, Any], home: Path) -> Path:
    """Runs a compiled pipeline with every step in a process of its own, and shows it on standard output.

    The same run again finds its steps in the cache, so a run that failed or was stopped goes on where it ended. Several
    runs may share a home at once.

    Args:
        pipeline_yaml: The compiled pipeline.
        parameters: The parameters that differ from the defaults.
        home: PREFLOW_HOME: runs, cache, artifacts and the embedded database.

    Returns:
        The run's folder: parameters.json, summary.json, manifest.json, report.html, report.md, pipeline.yaml, logs/.

    Raises:
        PreflowError: A parameter or an input file is wrong, or a step failed: the message names step, reason and log.
        KeyboardInterrupt: Somebody stopped the run; its steps are ended.
    """
    home = home.absolute()
    pipeline = read_pipeline(pipeline_yaml)
    settable = absolute(complete(pipeline, parameters))
    check_inputs(settable)
    with ExitStack() as stack:
        stack.enter_context(_stoppable())
        environment = {"PREFLOW_HOME": str(home)}
        database = stack.enter_context(step_database(home, settable["database"])) if "database" in settable else ""
        if database:
            environment["DATABASE_URL"] = database
        resolved = _resolve(pipeline, settable, database)
        run = new_run_folder(home, pipeline.name, datetime.now().strftime("%Y%m%d-%H%M%S"))
        resolved["run_id"] = run.name
        resolved["checkpoint_root"] = str(home / "checkpoints")
        _write_inputs(run, pipeline, settable)
        environment["AIP_TENSORBOARD_LOG_DIR"] = str(run / "tensorboard")  # as Vertex AI names it
        # Steps leave their unpacked program in the temporary folder; here it goes when the run ends.
        environment["TMPDIR"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="preflow-"))
        stack.enter_context(step_environment(environment))
        taken = {name: value for name, value in resolved.items() if name in pipeline.parameters}
        _run(pipeline, settable, taken, run, home)
    return run


def check_inputs(parameters: Mapping[str, Any]) -> None:
    """Checks settings, and reads the input files as the first step will, so that a mistake shows before anything runs.

    Raises:
        PreflowError: Settings contradict each other, or a file does not have the form it should; the message names
            file, line and field.
    """
    if "prompt_dataset" not in parameters:
        return
    from preflow.ppo.reward_names import check_monitors, check_reward_weights

    from preflow.inputs import check_form
    from preflow.ppo.config import ppo_config
    from preflow.scoring.registry import check_roles

    if "label_weights" in parameters:
        check_roles(parameters["label_weights"], parameters["monitors"])
    settings = {field: parameters[name] for field, name in _PPO_SETTINGS.items()}
    check_reward_weights(parameters["reward_weights"], ppo_config(parameters["ppo_options"], **settings))
    check_monitors(parameters["monitors"], parameters["reward_weights"])
    check_form(
        parameters["prompt_dataset"],
        parameters["preference_dataset"],
        parameters["eval_dataset"],
        parameters["instruction"],
    )


@contextmanager
def step_database(home: Path, reference: str) -> Iterator[str]:
    """The database of a run: what a reference or DATABASE_URL names, or else the embedded server, started if need be.

    Yields:
        Its DSN, or '' when a reference names it: then steps resolve it themselves.
    """
    from preflow.store import embedded_postgres

    if reference:
        yield ""
    elif os.environ.get("DATABASE_URL"):
        yield os.environ["DATABASE_URL"]
    else:
        with embedded_postgres(home) as url:
            yield url


def _resolve(pipeline: Pipeline, settable: Mapping[str, Any], database: str) -> dict[str, Any]:
    resolved: dict[str, Any] = {
        "code_version": code_version(),
        "digests": digest_inputs(settable),
        "parameters": dict(settable),
    }
    if "store_id" in pipeline.parameters:
        from preflow.store import connect, database_url, feedback_watermark, store_id

        with connect(database or database_url(settable.get("database", ""))) as connection:
            resolved["store_id"] = store_id(connection)
            resolved["feedback_watermark"] = feedback_watermark(connection)
    return resolved


def _run(pipeline: Pipeline, settable: Mapping[str, Any], resolved: Mapping[str, Any], run: Path, home: Path) -> None:
    state = RunState(pipeline.steps, run / "logs")
    memory = MemoryWatch(state.memory)
    memory.start()
    status = "failed"
    try:
        with shown(state, run.name, output()), _ended(state):
            kfp_log = run / "logs" / "kfp.log"
            run_pipeline(pipeline.path, {**settable, **resolved}, home / "pipeline_root", kfp_log, state)
        status = "succeeded"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    except StepFailed:
        raise PreflowError(_failure(state, run)) from None
    except Exception as error:
        failed = state.failure()
        where = f"step {failed.step.name}" if failed else run.name
        raise PreflowError(f"{where}: {type(error).__name__}: {error}\n  log: {run / 'logs' / 'kfp.log'}") from error
    finally:
        memory.stop()
        _write_outcome(pipeline, settable, resolved, status, state, run)


@contextmanager
def _ended(state: RunState) -> Iterator[None]:
    """Leaves no step running, however the run ends, and says so while the view still shows it."""
    try:
        yield
    finally:
        end_steps()
        state.interrupted()


def _failure(state: RunState, run: Path) -> str:
    failed = state.failure()
    if failed is None:
        return f"{run.name} failed\n  log: {run / 'logs' / 'kfp.log'}"
    again = "run the same command again to continue"
    return f"step {failed.step.name} failed: {failed.error}\n  log: {failed.log}\n  {again}"


def _write_inputs(run: Path, pipeline: Pipeline, settable: Mapping[str, Any]) -> None:
    (run / "logs").mkdir()
    write_json(run / "parameters.json", dict(settable))
    write_bytes(run / "pipeline.yaml", pipeline.path.read_bytes())


def _write_outcome(
    pipeline: Pipeline,
    settable: Mapping[str, Any],
    resolved: Mapping[str, Any],
    status: str,
    state: RunState,
    run: Path,
) -> None:
    own = {
        name: resolved[name]
        for name in RESOLVED
        if name in resolved and name not in ("run_id", "checkpoint_root", "parameters")
    }
    for name, source in report_files(state).items():
        write_bytes(run / name, source.read_bytes())
    write_json(run / "manifest.json", manifest(pipeline.name, run.name, own, state))
    write_json(run / "summary.json", summarise(pipeline.name, run.name, status, state, {**settable, **own}))


@contextmanager
def _stoppable() -> Iterator[None]:
    """Lets a polite kill or a closed terminal end a run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    # What is ignored, as under nohup, stays ignored.
    stopping = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    before = {number: signal.signal(number, stop) for number in stopping}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
