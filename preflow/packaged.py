"""Datasets that ship with the library, by name, such as `packaged:prompts`."""

from importlib.resources import files
from importlib.resources.abc import Traversable

from preflow.errors import PreflowError

_PREFIX = "packaged:"
_PROMPTS, _TEST_PROMPTS = f"{_PREFIX}prompts", f"{_PREFIX}test-prompts"
_FILES = {
    "prompts": "prompts.jsonl",
    "test-prompts": "test_prompts.jsonl",
    "example-feedback": "example_feedback.jsonl",
}


def is_packaged(uri: str) -> bool:
    """Whether a URI names packaged data."""
    return uri.startswith(_PREFIX)


def eval_dataset_of(prompt_dataset: str, eval_dataset: str) -> str:
    """The dataset that a run judges with, or '' for the held-out quarter of its prompts.

    Args:
        prompt_dataset: What the run trains on.
        eval_dataset: What the run was given to judge with; '' means the packaged test prompts with the packaged
            prompts, and the held-out quarter with any others.
    """
    return eval_dataset or (_TEST_PROMPTS if prompt_dataset == _PROMPTS else "")


def packaged_file(uri: str) -> Traversable:
    """Returns the file behind a `packaged:` name.

    Raises:
        PreflowError: The name is unknown.
    """
    name = uri.removeprefix(_PREFIX)
    if name not in _FILES:
        raise PreflowError(f"{uri}: no such packaged dataset; choose from {', '.join(_PREFIX + key for key in _FILES)}")
    return files("preflow.data") / _FILES[name]
