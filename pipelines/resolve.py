"""What no cache sees by itself, made visible as parameters: code, contents of inputs, state of the database."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preflow.ppo.reward_names import classifier_of

import components
import preflow
from preflow.errors import PreflowError
from preflow.identity import digest_bytes, digest_files, digest_json
from preflow.uris import is_gcs, read_bytes

_FILES = ("prompt_dataset", "preference_dataset", "eval_dataset")
_MODELS = ("large_model_reference", "reward_model_reference", "encoder_reference")
_PACKAGED = "packaged:"


def code_version() -> str:
    """Digest of the sources and packaged data of the library and the components."""
    files: list[Path] = []
    root = _folder(preflow).parent
    for folder in (_folder(preflow), _folder(components)):
        files += [path for path in folder.rglob("*") if path.is_file() and _is_source(path)]
    return digest_files(files, root)


def absolute(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with local paths made absolute, so that nothing depends on the working directory.

    Raises:
        PreflowError: An input file does not exist.
    """
    values = dict(parameters)
    for name in _FILES:
        value = values.get(name)
        if value and not is_gcs(value) and not value.startswith(_PACKAGED):
            path = Path(value).expanduser().absolute()
            if not path.is_file():
                raise PreflowError(f"{name}: no file at {path}; give a path, a gs:// URI or a packaged dataset")
            values[name] = str(path)
    for name in _MODELS:
        if values.get(name):
            values[name] = _absolute_model(values[name])
    if "reward_weights" in values:
        values["reward_weights"] = {_absolute_part(name): weight for name, weight in values["reward_weights"].items()}
    return values


def digest_inputs(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Digests of input files and local model folders, by parameter name. Packaged data stand in the code version."""
    digests = {}
    for name in _FILES:
        value = parameters.get(name)
        if value and is_gcs(value):
            digests[name] = digest_bytes(read_bytes(value))
        elif value and not value.startswith(_PACKAGED):
            digests[name] = digest_files([Path(value)], Path(value).parent)
    for name in _MODELS:
        if digest := _model_digest(parameters.get(name)):
            digests[name] = digest
    classifiers = [_model_digest(classifier_of(part)[0]) for part in parameters.get("reward_weights", ())]
    if any(classifiers):
        digests["reward_weights"] = digest_json(classifiers)
    return digests


def _model_digest(reference: str | None) -> str:
    folder = Path(reference or "/dev/null")
    return digest_files([path for path in folder.rglob("*") if path.is_file()], folder) if folder.is_dir() else ""


def _absolute_model(reference: str) -> str:
    folder = Path(reference).expanduser()
    return str(folder.absolute()) if folder.is_dir() else reference


def _absolute_part(name: str) -> str:
    """A part of the reward; `classifier:` may name a folder."""
    model, label = classifier_of(name)
    return f"classifier:{_absolute_model(model)}{label and f'#{label}'}" if model else name


def _folder(package: Any) -> Path:
    return Path(package.__file__).resolve().parent


def _is_source(path: Path) -> bool:
    return "__pycache__" not in path.parts and not path.name.startswith(".")
