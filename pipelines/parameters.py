"""From what somebody typed to the complete, typed parameters of a pipeline."""

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.spec import RESOLVED, Parameter, Pipeline
from preflow.errors import PreflowError

_KINDS = {
    "STRING": (str, "a text"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": (float, "a number"),
    "BOOLEAN": (bool, "true or false"),
    "LIST": (list, "a JSON list"),
    "STRUCT": (dict, "a JSON object"),
}


def complete(pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters that a person may set, with their defaults, in their declared types.

    Everything is passed on explicitly: KFP turns numbers into floats where it fills in a default itself, and the same
    value would then have two cache keys.

    Raises:
        PreflowError: A name is unknown, a value has the wrong type, or a parameter without default is missing.
    """
    settable = {name: entry for name, entry in pipeline.parameters.items() if name not in RESOLVED}
    for name in given:
        if name not in settable:
            raise PreflowError(unknown(name, list(settable), f"pipeline {pipeline.name}"))
    values = {}
    for name, entry in settable.items():
        if name in given:
            values[name] = _typed(entry, given[name])
        elif entry.required:
            raise PreflowError(f"parameter '{name}' of pipeline {pipeline.name} has no default; give it a value")
        else:
            values[name] = entry.default
    for name, value in values.items():
        if "{{$" in str(value):
            raise PreflowError(f"parameter '{name}' holds '{{{{$', which KFP would replace; put a blank between")
    if str(values.get("database", "")).startswith(("postgres://", "postgresql://")):
        raise PreflowError("parameter 'database' may hold no URL with a password; leave it out and set DATABASE_URL")
    return values


def unknown(name: str, known: list[str], where: str) -> str:
    """The message about a name nobody knows, with the nearest one that exists."""
    if name in RESOLVED:
        return f"parameter '{name}' is filled in by the launcher; leave it out"
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "`preflow run --help` lists them"
    return f"{where} has no parameter '{name}'; {hint}"


def parse(entry: Parameter, text: str) -> Any:
    """A value as it stands on a command line. Lists and objects are JSON.

    Raises:
        PreflowError: The text is not of the parameter's type.
    """
    if entry.kind == "STRING":
        return text
    try:
        return _typed(entry, json.loads(text))
    except ValueError:
        raise PreflowError(_wrong(entry, text)) from None


def read_parameters(path: Path) -> dict[str, Any]:
    """Reads parameters from a JSON file.

    Raises:
        PreflowError: The file cannot be read or does not hold one JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PreflowError(f"{path}: {error.strerror}; give a JSON file of parameters") from None
    except ValueError as error:
        raise PreflowError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise PreflowError(f"{path}: a JSON object of parameters was expected, got {type(values).__name__}")
    return values


def _typed(entry: Parameter, value: Any) -> Any:
    expected, _ = _KINDS[entry.kind]
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise PreflowError(_wrong(entry, value))
    return value


def _wrong(entry: Parameter, value: Any) -> str:
    example = {"LIST": """, such as '["coherence"]'""", "STRUCT": """, such as '{"relevance": 1.0}'"""}
    return f"parameter '{entry.name}' must be {_KINDS[entry.kind][1]}{example.get(entry.kind, '')}; got {value!r}"
