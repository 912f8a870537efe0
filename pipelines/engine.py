"""Runs a compiled pipeline with kfp.local and tells a watcher what happens, step by step.

kfp.local hands back only a pipeline's outputs, and prints everything else. Two of its functions are wrapped while a
pipeline runs: the one that every task goes through, and the one that starts a step's process. That is exact where
reading its log would be guessing. A third is replaced because it changes users' texts.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pipelines.processes import STEP_VARIABLE
from pipelines.router import LineRouter


class Watcher(Protocol):
    """Who is told. A step's key is its task name, numbered where a name comes again."""

    def begin(self, task: str) -> str:
        """A task is reached; gives its key."""

    def started(self, step: str) -> Callable[[str], None]:
        """Its process starts, so it is not cached; gives what takes its output lines."""

    def exited(self, step: str, returncode: int) -> None:
        """Its process ended."""

    def finished(self, step: str, outputs: Mapping[str, Any]) -> None:
        """The task succeeded, or came from the cache."""

    def failed(self, step: str) -> None:
        """The task failed."""


class StepFailed(Exception):
    """Stops a pipeline at its first failed step. The argument is the step's key."""


def run_pipeline(
    pipeline: Path, parameters: Mapping[str, Any], pipeline_root: Path, kfp_log: Path, watcher: Watcher
) -> None:
    """Runs a pipeline to its end in this process, its steps in processes of their own.

    Args:
        pipeline: The compiled YAML.
        parameters: All its parameters.
        pipeline_root: Folder of artifacts and of the cache.
        kfp_log: File for what KFP says itself.
        watcher: Who is told.

    Raises:
        StepFailed: A step failed; the watcher knows which and how.
    """
    from kfp import components, local

    router = LineRouter(kfp_log)
    with (
        contextlib.closing(router),
        contextlib.redirect_stdout(router),
        contextlib.redirect_stderr(router),
        warnings.catch_warnings(),
        _hooks(router, watcher),
    ):
        warnings.simplefilter("ignore")  # KFP warns that display names mean nothing locally
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(pipeline_root), enable_caching=True)
        components.load_component_from_file(str(pipeline))(**parameters)


@contextlib.contextmanager
def _hooks(router: LineRouter, watcher: Watcher) -> Iterator[None]:
    from kfp.local import status, subprocess_task_handler
    from kfp.local.orchestrator import task_executor

    execute_task = task_executor.execute_single_task
    run_process = subprocess_task_handler.run_local_subprocess
    replace_python = subprocess_task_handler.replace_python_executable
    current: dict[int, str] = {}

    def execute(*, task_name: str, **rest: Any) -> Any:
        step = current[threading.get_ident()] = watcher.begin(task_name)
        try:
            outputs, outcome = execute_task(task_name=task_name, **rest)
        except Exception:
            watcher.failed(step)
            raise
        if outcome != status.Status.SUCCESS:
            watcher.failed(step)
            raise StepFailed(step)
        _make_cacheable(outputs)
        watcher.finished(step, outputs)
        return outputs, outcome

    def run(full_command: list[str], env_vars: Mapping[str, str] | None = None) -> int:
        step = current[threading.get_ident()]
        router.route(watcher.started(step))
        try:
            returncode = run_process(full_command=full_command, env_vars={**(env_vars or {}), STEP_VARIABLE: step})
        finally:
            router.unroute()
        watcher.exited(step, returncode)
        return int(returncode)

    task_executor.execute_single_task = execute
    subprocess_task_handler.run_local_subprocess = run
    subprocess_task_handler.replace_python_executable = _with_this_python
    try:
        yield
    finally:
        task_executor.execute_single_task = execute_task
        subprocess_task_handler.run_local_subprocess = run_process
        subprocess_task_handler.replace_python_executable = replace_python


def _with_this_python(full_command: list[str], executable: str) -> list[str]:
    """Puts our Python into the shell line that starts a step.

    KFP's own function also rewrites `python3` in the arguments: in prompts, in parameters and in paths.
    """
    program = next(place for place, part in enumerate(full_command) if "ephemeral_component.py" in part)
    return [
        part.replace("python3", executable) if place <= program else part for place, part in enumerate(full_command)
    ]


def _make_cacheable(outputs: Mapping[str, Any]) -> None:
    """Gives artifacts that are all metadata an empty file: KFP's cache takes a missing file for a lost artifact."""
    for value in outputs.values():
        for artifact in value if isinstance(value, list) else [value]:
            path = getattr(artifact, "path", None)
            if path and not os.path.exists(path):
                Path(path).touch()


@contextlib.contextmanager
def step_environment(extra: Mapping[str, str]) -> Iterator[None]:
    """Sets the environment that steps inherit, and puts the old one back.

    Steps find this checkout whatever the working directory is, write UTF-8 without delay, and do not import what
    happens to lie in the working directory.
    """
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    ours = {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "PREFLOW_PROGRESS": "json",
        **extra,
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
