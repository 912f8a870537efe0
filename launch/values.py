"""From what a person gave to the complete, typed and checked parameters of a pipeline."""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

from launch.options import as_option, in_options
from launch.spec import Input, Pipeline, Step
from pipelines.parameters import BY_LAUNCHER, PARAMETERS
from preflow.errors import PreflowError
from preflow.verbs import VERBS

_KINDS = {
    "STRING": (str, "a text"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": (float, "a number"),
    "BOOLEAN": (bool, "true or false"),
    "LIST": (list, """a JSON list, such as '["coherence"]'"""),
    "STRUCT": (dict, """a JSON object, such as '{"relevance": 1.0}'"""),
}


def complete(pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters that a person may set, with their defaults, in their declared types.

    Every value is passed explicitly: KFP turns numbers into floats where it fills in a default itself, and the same
    value would then have two cache keys.

    Raises:
        PreflowError: A name is unknown, or a value has the wrong type.
    """
    settable = pipeline.settable
    for name in given:
        if name not in settable:
            raise PreflowError(unknown(name, pipeline))
    values = {name: _typed(entry, given[name]) if name in given else entry.default for name, entry in settable.items()}
    for name, value in values.items():
        if "{{$" in str(value):
            raise PreflowError(f"{as_option(name)} holds '{{{{$', which KFP would replace; put a blank between")
    return values


def unknown(name: str, pipeline: Pipeline) -> str:
    """The message about a parameter that a pipeline does not have, with the nearest one that it has."""
    if name in BY_LAUNCHER:
        return f"{as_option(name)} is filled in by the launcher; leave it out"
    near = difflib.get_close_matches(name, pipeline.settable, n=1)
    hint = f"did you mean {as_option(near[0])}?" if near else "`preflow run --help` lists them"
    return f"pipeline {pipeline.name} has no parameter {as_option(name)}; {hint}"


def check(pipeline: Pipeline, parameters: Mapping[str, Any]) -> None:
    """Lets the verb of every step of a pipeline check the arguments that the step will get.

    Raises:
        PreflowError: Settings contradict each other or an input file is wrong.
    """
    for step in pipeline.steps:
        for module in VERBS[step.verb].checks if step.verb in VERBS else ():
            try:
                importlib.import_module(module).check(step.arguments(parameters))
            except PreflowError as error:
                raise PreflowError(as_typed(str(error), step)) from None


def as_typed(message: str, step: Step) -> str:
    """A step's error message with the options that the user typed in place of the library's names in backticks.

    Args:
        message: Such as "`samples_per_prompt`: 5 given; it must divide `batch_size`, 32".
        step: The step that it is from.

    Returns:
        Such as "--ppo-samples-per-prompt: 5 given; it must divide --reinforcement-learning-batch-size, 32".
    """
    typed = {name: source for name, source in step.wires.items() if source in PARAMETERS}
    return in_options(message, {**dict(zip(PARAMETERS, PARAMETERS, strict=True)), **typed})


def _typed(entry: Input, value: Any) -> Any:
    kind, described = _KINDS[entry.kind]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise PreflowError(f"{as_option(entry.name)} must be {described}; got {value!r}")
    return value
