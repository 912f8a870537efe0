"""The diagram in docs/architecture.md is the run graph."""

import re
from pathlib import Path

import yaml

_PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"


def test_the_diagram_has_the_steps_and_edges_of_the_loop(compiled: dict[str, Path]) -> None:
    page = _PAGE.read_text(encoding="utf-8")
    titles = dict(re.findall(r"([A-Z])\[([\w-]+)\]", page))
    drawn = {
        (titles[start], output, titles[end])
        for start, label, end in re.findall(r"([A-Z])(?:\[[\w-]+\])? -->\|(.+?)\| ([A-Z])", page)
        for output in label.split(", ")
    }
    tasks = yaml.safe_load(compiled["rlhf"].read_text())["root"]["dag"]["tasks"]
    wired = set()
    for name, task in tasks.items():
        for entry in [entry for kind in task.get("inputs", {}).values() for entry in kind.values()]:
            made = entry.get("taskOutputArtifact") or entry.get("taskOutputParameter")
            if made:
                output = made.get("outputArtifactKey") or made["outputParameterKey"]
                wired.add((made["producerTask"], output, name))
    assert set(titles.values()) == set(tasks)
    assert drawn == wired
