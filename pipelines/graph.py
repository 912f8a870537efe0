"""Makes a pipeline out of a list of components: its signature from the table of parameters, its wires by name."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kfp import dsl

from components.record_run import record_run
from pipelines.parameters import PARAMETERS, RENAMED


def pipeline(
    name: str,
    description: str,
    steps: Sequence[Any],
    *,
    constants: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
    uncached: Collection[Any] = (record_run,),
) -> Any:
    """A KFP pipeline that runs components in an order in which each finds its inputs.

    An input of a step is wired to what has its name: an output of an earlier step, a constant, or a parameter of the
    pipeline. `RENAMED` holds the exceptions, and `code_version` is the digest of the step's own code. An optional input
    that nothing has the name of stays empty.

    Args:
        name: The pipeline's name.
        description: What it does, in one sentence.
        steps: Components. The pipeline's parameters are those of the table that their inputs are wired to, and the
            model's name, which is for the record.
        constants: Values that stand in the place of parameters.
        defaults: Defaults that differ from the table's.
        uncached: Components that run each time.

    Raises:
        KeyError: A required input of a step has the name of nothing, or no step reads a constant or a default.
    """
    fixed = {**(constants or {}), "pipeline": name, "job_name": dsl.PIPELINE_JOB_NAME_PLACEHOLDER}
    read = {_source(step, name) for step in steps for name in step.component_spec.inputs}
    parameters = [
        parameter
        for parameter in PARAMETERS.values()
        if (parameter.name in read or parameter.name == "model_display_name") and parameter.name not in fixed
    ]

    if unknown := set(defaults or {}) - {parameter.name for parameter in parameters} | set(constants or {}) - read:
        raise KeyError(f"{name}: no step reads {', '.join(sorted(unknown))}")

    def graph(*channels: Any) -> None:
        scope = {**fixed, **{parameter.name: channel for parameter, channel in zip(parameters, channels, strict=True)}}
        for step in steps:
            task = step(**_inputs(step, scope))
            if step in uncached:
                task.set_caching_options(False)
            scope.update(task.outputs)

    graph.__name__ = name.replace("-", "_")
    lines = [f"    {parameter.name}: {parameter.help}" for parameter in parameters]
    graph.__doc__ = "\n".join([description, "", "Args:", *lines])
    graph.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                parameter.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                annotation=parameter.type,
                default=(defaults or {}).get(parameter.name, parameter.default),
            )
            for parameter in parameters
        ]
    )
    return dsl.pipeline(graph, name=name, description=description)


def _source(step: Any, name: str) -> str:
    """The name in a pipeline of what an input of a step is wired to."""
    verb = step.name.replace("-", "_")
    return f"{verb}_code" if name == "code_version" else RENAMED.get(verb, {}).get(name, name)


def _inputs(step: Any, scope: Mapping[str, Any]) -> dict[str, Any]:
    inputs = {}
    for name, declared in step.component_spec.inputs.items():
        source = _source(step, name)
        if source in scope:
            inputs[name] = scope[source]
        elif not declared.optional:
            raise KeyError(f"{step.name}: nothing before it in the pipeline is called '{source}', its input '{name}'")
    return inputs
