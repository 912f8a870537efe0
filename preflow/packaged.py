"""Datasets that ship with the library, by name, such as `packaged:prompts`."""

from importlib.resources import files
from importlib.resources.abc import Traversable

from preflow.errors import PreflowError

_PREFIX = "packaged:"
_FILES = {
    "prompts": "prompts.jsonl",
    "test-prompts": "test_prompts.jsonl",
    "example-feedback": "example_feedback.jsonl",
}


def is_packaged(uri: str) -> bool:
    """Whether a URI names packaged data."""
    return uri.startswith(_PREFIX)


def packaged_file(uri: str) -> Traversable:
    """Returns the file behind a `packaged:` name.

    Raises:
        PreflowError: The name is unknown.
    """
    name = uri.removeprefix(_PREFIX)
    if name not in _FILES:
        raise PreflowError(f"{uri}: no such packaged dataset; choose from {', '.join(_PREFIX + key for key in _FILES)}")
    return files("preflow.data") / _FILES[name]
