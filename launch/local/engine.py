"""Runs a compiled pipeline with kfp.local and tells the state of the run what happens, step by step.

kfp.local hands back only a pipeline's outputs, and prints everything else. Two of its functions are replaced while a
pipeline runs: the one that every task goes through is wrapped, and the one that starts a step's process gives way to
ours. That is exact where reading its log would be guessing. A third is replaced because it changes users' texts.
"""

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launch.local.processes import run_step
from launch.local.state import RunState


class StepFailed(Exception):
    """Stops a pipeline at its first failed step. The argument is the step's key."""


def run_pipeline(
    pipeline: Path,
    parameters: Mapping[str, Any],
    pipeline_root: Path,
    environment: Mapping[str, str],
    kfp_log: Path,
    state: RunState,
) -> None:
    """Runs a pipeline to its end in this process, its steps in processes of their own.

    Args:
        pipeline: The compiled YAML.
        parameters: All its parameters.
        pipeline_root: Folder of artifacts and of the cache.
        environment: Variables of the steps, beside those of `step_environment` and of this process.
        kfp_log: File for KFP's own output.
        state: Follows the run.

    Raises:
        StepFailed: A step failed; the state says which and why.
    """
    from kfp import components, local

    with (
        kfp_log.open("w", encoding="utf-8", buffering=1) as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        warnings.catch_warnings(),
        _hooks(state, {**step_environment(), **environment}),
    ):
        warnings.simplefilter("ignore")  # KFP warns about what means nothing locally
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(pipeline_root), enable_caching=True)
        components.load_component_from_file(str(pipeline))(**parameters)


@contextlib.contextmanager
def _hooks(state: RunState, environment: Mapping[str, str]) -> Iterator[None]:
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
        _make_cacheable(outputs)
        state.finished(step, outputs)
        return outputs, outcome

    def run(full_command: list[str], env_vars: Mapping[str, str] | None = None) -> int:
        step = current[threading.get_ident()]
        returncode = run_step(step, full_command, {**environment, **(env_vars or {})}, state.started(step))
        state.exited(step, returncode)
        return returncode

    with contextlib.ExitStack() as stack:
        for module, name, ours in (
            (task_executor, "execute_single_task", execute),
            (subprocess_task_handler, "run_local_subprocess", run),
            (subprocess_task_handler, "replace_python_executable", _with_this_python),
        ):
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


def _make_cacheable(outputs: Mapping[str, Any]) -> None:
    """Gives artifacts that are all metadata an empty file: KFP's cache takes a missing file for a lost artifact."""
    for value in outputs.values():
        for artifact in value if isinstance(value, list) else [value]:
            path = getattr(artifact, "path", None)
            if path and not os.path.exists(path):
                Path(path).touch()


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
        "PREFLOW_PROGRESS": "json",
    }
