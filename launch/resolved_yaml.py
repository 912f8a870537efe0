"""A compiled pipeline with everything resolved: its parameters' defaults are what the launcher would fill in."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from launch.database import run_database
from launch.resolve import local_inputs, resolve
from launch.spec import Pipeline, as_yaml
from preflow.errors import PreflowError
from preflow.writing import write_text


def write_resolved(pipeline: Pipeline, given: Mapping[str, Any], home: Path, target: Path, *, local: bool) -> None:
    """Resolves the parameters of a compiled pipeline and writes it with them as defaults.

    The digests and the record belong to exactly these parameters: to change one, resolve again.

    Args:
        pipeline: The compiled pipeline.
        given: The parameters that differ from its defaults.
        home: PREFLOW_HOME, for the embedded database.
        target: The YAML file to write.
        local: Whether it will run on this machine. A cluster sees neither its files nor its embedded database.

    Raises:
        PreflowError: A parameter or an input file is wrong, an input is local to this machine, or the database cannot
            be reached.
    """
    with ExitStack() as stack:
        database = ""
        if "database" in pipeline.parameters:
            reference = str(given.get("database", ""))
            if not (local or reference or os.environ.get("DATABASE_URL")):
                raise PreflowError("DATABASE_URL is not set, and a cluster cannot reach the embedded database; set it")
            database = stack.enter_context(run_database(home, reference))
        values = resolve(pipeline, given, database)
    if not local and (inputs := local_inputs(values)):
        raise PreflowError(f"{', '.join(inputs)}: a cluster cannot read files of this machine; give gs:// URIs")
    spec = yaml.safe_load(pipeline.path.read_text(encoding="utf-8"))
    declared = spec["root"]["inputDefinitions"]["parameters"]
    for name, value in values.items():
        declared[name].update(defaultValue=value, isOptional=True)
    write_text(target, as_yaml(spec))
