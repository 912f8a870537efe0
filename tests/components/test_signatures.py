"""Each component calls its verb with the names that the verb really has."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from pipelines.verbs import VERBS

_CALLS = [
    ("validate_inputs", "preflow.inputs", "validate_inputs"),
    ("promote", "preflow.promotion", "decide_promotion"),
    ("ppo_optimize", "preflow.ppo", "ppo_config"),
    ("record_run", "preflow.store", "record_run"),
    *((command.replace("-", "_"), module, function) for command, (module, function, _) in VERBS.items()),
]


@pytest.mark.parametrize(("component", "module", "function"), _CALLS)
def test_the_call_fits_the_signature(component: str, module: str, function: str) -> None:
    library = pytest.importorskip(module)
    if library.__file__ is None:
        pytest.skip(f"{module} is an empty folder")
    source = ast.parse(Path(inspect.getfile(importlib.import_module(f"components.{component}"))).read_text())
    calls = [
        node
        for node in ast.walk(source)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function
    ]
    assert len(calls) == 1
    imported = [node for node in ast.walk(source) if isinstance(node, ast.ImportFrom) and node.module == module]
    assert imported, f"{component} imports {function} from elsewhere"
    given = {keyword.arg: None for keyword in calls[0].keywords if keyword.arg}
    inspect.signature(getattr(library, function)).bind(*calls[0].args, **given)
