"""What a compiled pipeline says about itself: its parameters, its steps and their wires."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipelines.parameters import BY_LAUNCHER, PARAMETERS
from preflow.errors import PreflowError


@dataclass(frozen=True)
class Input:
    """A declared parameter, which has a default. `kind` is KFP's, such as NUMBER_INTEGER or STRUCT."""

    name: str
    kind: str
    default: Any


@dataclass(frozen=True)
class Step:
    """A task that runs something.

    Attributes:
        name: The task's name.
        verb: What it runs: the component's name with underscores.
        wires: By input: the pipeline's parameter that it is wired to.
        constants: By input: the constant that it is given.
    """

    name: str
    verb: str
    wires: Mapping[str, str]
    constants: Mapping[str, Any]

    def arguments(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The values of its inputs that are known before the pipeline runs."""
        given = {name: parameters[source] for name, source in self.wires.items() if source in parameters}
        return {**self.constants, **given}


@dataclass(frozen=True)
class Pipeline:
    """A compiled pipeline."""

    path: Path
    name: str
    parameters: Mapping[str, Input]
    steps: list[Step]

    @property
    def settable(self) -> dict[str, Input]:
        """The parameters that a person may set, in the table's order; the launcher fills in the others."""
        names = [*PARAMETERS, *(name for name in self.parameters if name not in PARAMETERS)]
        return {name: self.parameters[name] for name in names if name in self.parameters and name not in BY_LAUNCHER}


def read_pipeline(path: Path) -> Pipeline:
    """Reads a compiled pipeline.

    Raises:
        PreflowError: The file cannot be read or is not one compiled pipeline.
    """
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        root = spec["root"]
        declared = root.get("inputDefinitions", {}).get("parameters", {})
        wires = {name: name for name in declared}
        return Pipeline(
            path=path,
            name=spec["pipelineInfo"]["name"],
            parameters={name: _parameter(name, entry) for name, entry in declared.items()},
            steps=list(_steps(root["dag"]["tasks"], spec["components"], wires)),
        )
    except OSError as error:
        raise PreflowError(f"{path}: {error.strerror}; give the YAML file of a compiled pipeline") from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError):
        raise PreflowError(f"{path}: not a compiled pipeline; `preflow compile` makes one") from None


def with_image(pipeline: str, image: str) -> str:
    """The YAML of a compiled pipeline, with all its steps on one image."""
    spec = yaml.safe_load(pipeline)
    for executor in spec["deploymentSpec"]["executors"].values():
        executor["container"]["image"] = image
    return as_yaml(spec)


def as_yaml(spec: Mapping[str, Any]) -> str:
    """The text of a compiled pipeline."""
    text: str = yaml.safe_dump(spec, sort_keys=True, allow_unicode=True, width=120)
    return text


def _parameter(name: str, entry: dict[str, Any]) -> Input:
    default = entry.get("defaultValue")
    if entry["parameterType"] == "NUMBER_INTEGER" and default is not None:
        default = int(default)
    return Input(name, entry["parameterType"], default)


def _steps(tasks: dict[str, Any], components: dict[str, Any], outer: Mapping[str, str]) -> Iterator[Step]:
    """The steps of a graph and of the graphs in it; `outer` leads from a graph's inputs to the root's parameters."""
    for name in _in_order(tasks):
        task = tasks[name]
        component = task["componentRef"]["name"]
        inputs = task.get("inputs", {}).get("parameters", {})
        sources = {key: outer.get(entry.get("componentInputParameter")) for key, entry in inputs.items()}
        wires = {key: source for key, source in sources.items() if source}
        if "dag" in components[component]:
            yield from _steps(components[component]["dag"]["tasks"], components, wires)
        else:
            values = {key: entry.get("runtimeValue", {}) for key, entry in inputs.items()}
            constants = {key: value["constant"] for key, value in values.items() if "constant" in value}
            verb = re.sub(r"^comp-|-\d+$", "", component).replace("-", "_")  # KFP numbers a second form of a component
            yield Step(name, verb, wires, constants)


def _in_order(tasks: dict[str, Any]) -> list[str]:
    """Tasks after those they depend on; otherwise those that lead to the longest chain first, then by name."""
    depth: dict[str, int] = {}

    def chain(name: str) -> int:
        if name not in depth:
            below = [other for other, task in tasks.items() if name in task.get("dependentTasks", [])]
            depth[name] = 1 + max((chain(other) for other in below), default=0)
        return depth[name]

    return sorted(tasks, key=lambda name: (-chain(name), name))
