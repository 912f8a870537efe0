"""Every input of every task comes from where the table says, and no two of one type can be swapped unseen."""

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.compile import PIPELINES
from tests.pipelines.wires import WIRES

Wires = dict[str, dict[str, str]]


def wires(spec: Any) -> Wires:
    """The source of every input of every task of a compiled pipeline."""
    return {
        name: {key: source(entry) for kind in task["inputs"].values() for key, entry in kind.items()}
        for name, task in spec["root"]["dag"]["tasks"].items()
    }


def source(entry: Any) -> str:
    """The source of one input, as the table writes it."""
    [(kind, value)] = entry.items()
    if kind.startswith("componentInput"):
        return str(value)
    if kind == "runtimeValue":
        return f"= {value['constant']}"
    return f"{value['producerTask']}.{value.get('outputArtifactKey') or value['outputParameterKey']}"


def swaps(spec: Any) -> Iterator[tuple[str, str, str]]:
    """Task and names of every two inputs that have one type and different sources."""
    found = wires(spec)
    for task, entry in spec["root"]["dag"]["tasks"].items():
        declared = spec["components"][entry["componentRef"]["name"]]["inputDefinitions"]
        types = {name: one.get("parameterType", "artifact") for kind in declared.values() for name, one in kind.items()}
        for first, second in itertools.combinations(found[task], 2):
            if types[first] == types[second] and found[task][first] != found[task][second]:
                yield task, first, second


def swapped(spec: Any, task: str, first: str, second: str) -> Any:
    """The pipeline with two inputs of a task exchanged."""
    changed = copy.deepcopy(spec)
    for kind in changed["root"]["dag"]["tasks"][task]["inputs"].values():
        if first in kind:
            kind[first], kind[second] = kind[second], kind[first]
    return changed


@pytest.mark.parametrize("name", PIPELINES)
def test_every_input_comes_from_where_the_table_says(compiled: dict[str, Path], name: str) -> None:
    assert wires(yaml.safe_load(compiled[name].read_text())) == WIRES[name]


@pytest.mark.parametrize(("name", "least"), [("rlhf", 200), ("rlhf_from_preferences", 150)])
def test_every_swap_of_two_inputs_of_one_type_differs_from_the_table(
    compiled: dict[str, Path], name: str, least: int
) -> None:
    spec = yaml.safe_load(compiled[name].read_text())
    tried = list(swaps(spec))
    assert [swap for swap in tried if wires(swapped(spec, *swap)) == WIRES[name]] == []
    assert len(tried) >= least
    print(f"{name}: {len(tried)} swaps, all seen")
