"""What a compiled pipeline says about itself: its parameters and its steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from preflow.errors import PreflowError

RESOLVED = ("code_version", "digests", "store_id", "feedback_watermark", "run_id", "checkpoint_root", "parameters")
"""Parameters that the launcher fills in; nobody types them."""


@dataclass(frozen=True)
class Parameter:
    """An input of the pipeline. `kind` is KFP's: STRING, NUMBER_INTEGER, NUMBER_DOUBLE, BOOLEAN, LIST or STRUCT."""

    name: str
    kind: str
    default: Any
    required: bool
    help: str


@dataclass(frozen=True)
class Step:
    """A task that runs something. `group` is the title of the nested pipeline it stands in, or ''."""

    name: str
    title: str
    group: str


@dataclass(frozen=True)
class Pipeline:
    """A compiled pipeline."""

    path: Path
    name: str
    parameters: dict[str, Parameter]
    steps: list[Step]


def read_pipeline(path: Path) -> Pipeline:
    """Reads a compiled pipeline.

    Raises:
        PreflowError: The file cannot be read or is not one compiled pipeline.
    """
    try:
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        root = spec["root"]
        declared = root.get("inputDefinitions", {}).get("parameters", {})
        return Pipeline(
            path=path,
            name=spec["pipelineInfo"]["name"],
            parameters={name: _parameter(name, entry) for name, entry in declared.items()},
            steps=list(_steps(root["dag"]["tasks"], spec["components"], "")),
        )
    except OSError as error:
        raise PreflowError(f"{path}: {error.strerror}; give the YAML file of a compiled pipeline") from None
    except (yaml.YAMLError, KeyError, TypeError):
        raise PreflowError(f"{path}: not a compiled pipeline; `preflow compile` makes one") from None


def _parameter(name: str, entry: dict[str, Any]) -> Parameter:
    default = entry.get("defaultValue")
    if entry["parameterType"] == "NUMBER_INTEGER" and default is not None:
        default = int(default)
    required = "defaultValue" not in entry and not entry.get("isOptional", False)
    return Parameter(name, entry["parameterType"], default, required, entry.get("description", ""))


def _steps(tasks: dict[str, Any], components: dict[str, Any], group: str) -> Iterator[Step]:
    for name in _in_order(tasks):
        task = tasks[name]
        title = task.get("taskInfo", {}).get("name", name)
        component = components[task["componentRef"]["name"]]
        if "dag" in component:
            yield from _steps(component["dag"]["tasks"], components, title)
        else:
            yield Step(name, title, group)


def _in_order(tasks: dict[str, Any]) -> list[str]:
    """Tasks after those they depend on; otherwise those that lead to the longest chain first, then by name."""
    depth: dict[str, int] = {}

    def chain(name: str) -> int:
        if name not in depth:
            below = [other for other, task in tasks.items() if name in task.get("dependentTasks", [])]
            depth[name] = 1 + max((chain(other) for other in below), default=0)
        return depth[name]

    return sorted(tasks, key=lambda name: (-chain(name), name))
