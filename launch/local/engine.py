"""Runs a compiled pipeline with kfp.local and tells the state of the run what happens, step by step.

kfp.local hands back only a pipeline's outputs, and prints everything else. Two of its functions are replaced while a
pipeline runs: the one that every task goes through is wrapped, and the one that starts a step's process or container
gives way to ours. That is exact where reading its log would be guessing, and where KFP takes a container that is gone
for one that succeeded. A third is replaced because it changes users' texts.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launch.local.containers import Containers
from launch.local.processes import run_step
from launch.local.state import RunState

_PROGRESS = "PREFLOW_PROGRESS"
_ALL_METADATA = ("system.Metrics", "system.ClassificationMetrics")


class StepFailed(Exception):
    """Stops a pipeline at its first failed step. The argument is the step's key."""


def run_pipeline(
    pipeline: Path,
    parameters: Mapping[str, Any],
    pipeline_root: Path,
    environment: Mapping[str, str],
    kfp_log: Path,
    state: RunState,
    containers: Containers | None = None,
) -> None:
    """Runs a pipeline to its end in this process, its steps in processes or containers of their own.

    Args:
        pipeline: The compiled YAML.
        parameters: All its parameters.
        pipeline_root: Folder of artifacts and of the cache.
        environment: Variables of the steps; processes also have those of `step_environment` and of this process.
        kfp_log: File for KFP's own output.
        state: Follows the run.
        containers: How steps become containers; None runs them as processes, in this Python.

    Raises:
        StepFailed: A step failed; the state says which and why.
    """
    from kfp import components, local

    with (
        kfp_log.open("w", encoding="utf-8", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        warnings.catch_warnings(),
        _hooks(state, environment, containers),
    ):
        warnings.simplefilter("ignore")  # KFP warns about what means nothing locally
        runner = local.DockerRunner() if containers else local.SubprocessRunner(use_venv=False)
        local.init(runner, pipeline_root=str(pipeline_root), enable_caching=True)
        components.load_component_from_file(str(pipeline))(**parameters)


@contextlib.contextmanager
def _hooks(state: RunState, environment: Mapping[str, str], containers: Containers | None) -> Iterator[None]:
    from kfp.local import status, subprocess_task_handler
    from kfp.local.orchestrator import task_executor

    execute_task = task_executor.execute_single_task
    current: dict[int, str] = {}

    def execute(*, task_name: str, **rest: Any) -> Any:
        step = current[threading.get_ident()] = state.begin(task_name)
        try:
            outputs, outcome = execute_task(task_name=task_name, **rest)
        except Exception:
            state.failed(step)
            raise
        if outcome != status.Status.SUCCESS:
            state.failed(step)
            raise StepFailed(step)
        if missing := _missing(outputs):
            state.failed(step, f"it ended without writing its output {missing}")
            raise StepFailed(step)
        _make_cacheable(outputs)
        state.finished(step, outputs)
        return outputs, outcome

    def run(command: list[str], variables: Mapping[str, str]) -> int:
        step = current[threading.get_ident()]
        started = state.started(step)
        if containers:
            command = containers.command(step, command, variables)
        returncode = run_step(step, command, variables, started)
        state.exited(step, returncode)
        return returncode

    def run_process(full_command: list[str], env_vars: Mapping[str, str] | None = None) -> int:
        return run(full_command, {**step_environment(), **environment, **(env_vars or {})})

    def run_container(*, command: list[str], **settings: Any) -> int:
        return run(command, {_PROGRESS: "json", **environment, **settings.get("environment", {})})

    replaced: list[tuple[Any, str, Any]] = [
        (task_executor, "execute_single_task", execute),
        (subprocess_task_handler, "run_local_subprocess", run_process),
        (subprocess_task_handler, "replace_python_executable", _with_this_python),
    ]
    if containers:
        from kfp.local import docker_task_handler  # which needs the package docker

        replaced.append((docker_task_handler, "run_docker_container", run_container))
    with contextlib.ExitStack() as stack:
        for module, name, ours in replaced:
            stack.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, ours)
        yield


def _with_this_python(full_command: list[str], executable: str) -> list[str]:
    """Puts our Python into the shell line that starts a step.

    KFP's own function also rewrites `python3` in the arguments: in prompts, in parameters and in paths.
    """
    program = next(index for index, part in enumerate(full_command) if "ephemeral_component.py" in part)
    return [
        part.replace("python3", executable) if index <= program else part for index, part in enumerate(full_command)
    ]


def _missing(outputs: Mapping[str, Any]) -> str:
    """The name of an output artifact with content that was not written; '' if there is none."""
    missing = (
        name
        for name, artifact in _artifacts(outputs)
        if artifact.schema_title not in _ALL_METADATA and not os.path.exists(artifact.path)
    )
    return next(missing, "")


def _make_cacheable(outputs: Mapping[str, Any]) -> None:
    """Gives artifacts that are all metadata an empty file: KFP's cache takes a missing file for a lost artifact."""
    for _, artifact in _artifacts(outputs):
        if not os.path.exists(artifact.path):
            Path(artifact.path).touch()


def _artifacts(outputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in outputs.items():
        for artifact in value if isinstance(value, list) else [value]:
            if getattr(artifact, "path", None):
                yield name, artifact


def step_environment() -> dict[str, str]:
    """The variables of every step.

    Steps find this checkout whatever the working directory is, write UTF-8 without delay, and do not import from the
    working directory.
    """
    root = str(Path(__file__).resolve().parents[2])
    return {
        "PYTHONPATH": os.pathsep.join([root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        _PROGRESS: "json",
    }
