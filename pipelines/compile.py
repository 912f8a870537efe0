"""Compiles the pipelines to YAML: one document, the same for every place they run in."""

import importlib
from pathlib import Path
from typing import Any

from preflow.errors import PreflowError
from preflow.writing import written_beside

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
    if name not in PIPELINES:
        raise PreflowError(f"no pipeline is called '{name}'; there are: {', '.join(PIPELINES)}")
    return compile_function(getattr(importlib.import_module(f"pipelines.{name}"), name), output)


def compile_function(pipeline: Any, output: Path) -> Path:
    """Compiles a `@dsl.pipeline` function; a file that is there is replaced as a whole."""
    from kfp.compiler import Compiler

    with written_beside(output) as beside:
        compiled = beside.with_suffix(".yaml")  # the compiler asks for this ending
        Compiler().compile(pipeline, str(compiled))
        compiled.replace(beside)
    return output
