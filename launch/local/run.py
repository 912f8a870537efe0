"""Runs a compiled pipeline on this machine and keeps what came of it."""

import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from launch.database import run_database
from launch.local.containers import Containers, check_readable, image_id, prepare_containers
from launch.local.engine import StepFailed, run_pipeline
from launch.local.processes import MemoryWatch, end_steps, step_processes
from launch.local.state import RunState
from launch.local.view import shown
from launch.resolve import filled_in, local_inputs, settings
from launch.runs.folder import new_run_folder, write_json
from launch.runs.summary import manifest, report_files, summarise
from launch.spec import Pipeline, read_pipeline, with_image
from launch.tables import output
from preflow.errors import PreflowError
from preflow.writing import write_text


def run_local(pipeline_yaml: Path, parameters: Mapping[str, Any], home: Path, image: str = "") -> Path:
    """Runs a compiled pipeline with every step in a process or a container of its own, and shows it on standard output.

    The same run again finds its steps in the cache, so a run that failed or was stopped goes on where it ended. Several
    runs may share a home at once.

    Args:
        pipeline_yaml: The compiled pipeline.
        parameters: The parameters that differ from the defaults.
        home: PREFLOW_HOME: runs, cache, artifacts and the embedded database.
        image: The image of containers; '' runs steps as processes in this Python.

    Returns:
        The run's folder: parameters.json, summary.json, manifest.json, report.html, report.md, pipeline.yaml, logs/.

    Raises:
        PreflowError: A parameter or an input file is wrong, there is no such image, or a step failed: the message
            names step, reason and log.
        KeyboardInterrupt: The run was stopped; its steps are ended.
    """
    home = home.absolute()
    pipeline = read_pipeline(pipeline_yaml)
    values = settings(pipeline, parameters)  # before a database is started for it
    inputs = [path for paths in local_inputs(values).values() for path in paths]
    if image:
        image = image_id(image)
        check_readable(path for path in inputs if home not in Path(path).parents)
    with ExitStack() as stack:
        stack.enter_context(_stoppable())
        environment = {"PREFLOW_HOME": str(home)}
        database = ""
        if "database" in pipeline.parameters:
            database = stack.enter_context(run_database(home, values["database"]))
            environment["DATABASE_URL"] = database
        filled = filled_in(pipeline, values, database)
        run = new_run_folder(home, pipeline.name, datetime.now().strftime("%Y%m%d-%H%M%S"))
        (run / "logs").mkdir()
        write_json(run / "parameters.json", values)
        text = pipeline.path.read_text(encoding="utf-8")
        write_text(run / "pipeline.yaml", with_image(text, image) if image else text)
        environment["AIP_TENSORBOARD_LOG_DIR"] = str(run / "tensorboard")  # as Vertex AI names it
        containers = None
        if image:
            containers = prepare_containers(run, home, image, inputs)
            environment["HF_HOME"] = str(home / "models" / "huggingface")  # a container's own is in memory and is lost
            stack.callback(containers.end)
        else:
            # Steps leave their unpacked program in the temporary folder; here it goes when the run ends.
            environment["TMPDIR"] = stack.enter_context(tempfile.TemporaryDirectory(prefix="preflow-"))
        _run(pipeline, values, filled, environment, run, home, containers)
    return run


def _run(
    pipeline: Pipeline,
    values: Mapping[str, Any],
    filled: Mapping[str, Any],
    environment: Mapping[str, str],
    run: Path,
    home: Path,
    containers: Containers | None,
) -> None:
    own = {"run_id": run.name, "checkpoint_root": str(home / "checkpoints")}
    taken = {**values, **filled, **{name: value for name, value in own.items() if name in pipeline.parameters}}
    state = RunState(pipeline.steps, run / "logs")
    memory = MemoryWatch(containers.processes if containers else step_processes, state.memory)
    memory.start()
    status = "failed"
    try:
        with shown(state, run.name, output()), _ended(state):
            kfp_log = run / "logs" / "kfp.log"
            compiled, root = run / "pipeline.yaml", home / "pipeline_root"
            run_pipeline(compiled, taken, root, environment, kfp_log, state, containers)
        status = "succeeded"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    except StepFailed as error:
        failed = state.steps[str(error)]
        lines = [f"step {failed.step.name} failed: {failed.error}", f"log: {failed.log}"]
        raise PreflowError("\n  ".join([*lines, "run the same command again to continue"])) from None
    except Exception as error:
        broken = state.failure()
        where = f"step {broken.step.name}" if broken else run.name
        raise PreflowError(f"{where}: {type(error).__name__}: {error}\n  log: {run / 'logs' / 'kfp.log'}") from error
    finally:
        memory.stop()
        digests = {name: value for name, value in filled.items() if name != "parameters"}
        for name, source in report_files(state).items():
            write_text(run / name, source.read_text(encoding="utf-8"))
        write_json(run / "manifest.json", manifest(pipeline.name, run.name, digests, state))
        image = containers.image if containers else ""
        summary = summarise(pipeline.name, run.name, status, state, {**values, **digests}, image)
        write_json(run / "summary.json", summary)


@contextmanager
def _ended(state: RunState) -> Iterator[None]:
    """Leaves no step running, however the run ends, and marks the stopped ones while the view still shows them."""
    try:
        yield
    finally:
        end_steps()
        state.interrupted()


@contextmanager
def _stoppable() -> Iterator[None]:
    """Lets SIGTERM and a closed terminal end a run as Ctrl-C does."""
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
