"""Compiles the pipelines to YAML: one document, the same for every place they run in."""

import importlib
from pathlib import Path
from typing import Any

from preflow.errors import PreflowError

PIPELINES = ("rlhf", "rlhf_from_preferences")


def compile_pipeline(name: str, output: Path) -> Path:
    """Compiles one pipeline.

    Args:
        name: One of `PIPELINES`.
        output: The YAML file to write.

    Returns:
        `output`.

    Raises:
        PreflowError: There is no pipeline of that name, or the file cannot be written.
    """
    return compile_function(_pipeline_function(name), output)


def compile_function(pipeline: Any, output: Path) -> Path:
    """Compiles a `@dsl.pipeline` function, beside the target first so that nobody reads half a file."""
    from kfp.compiler import Compiler

    beside = output.with_name(f".{output.name}.part.yaml")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        Compiler().compile(pipeline, str(beside))
        beside.replace(output)
    except OSError as error:
        raise PreflowError(f"{output}: cannot be written: {error.strerror}; choose another file") from error
    finally:
        beside.unlink(missing_ok=True)
    return output


def _pipeline_function(name: str) -> Any:
    if name not in PIPELINES:
        raise PreflowError(f"no pipeline is called '{name}'; there are: {', '.join(PIPELINES)}")
    return getattr(importlib.import_module(f"pipelines.{name}"), name)
