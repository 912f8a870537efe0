"""Everything that a compiled pipeline needs to know before it can be submitted, to any place.

Caches key on parameters and URIs. They see neither code nor contents of files nor the state of the database, so their
digests and ids become parameters here. What computes them is in the library, for steps that no launcher started.
"""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from launch.options import as_option
from launch.spec import Pipeline
from launch.values import check, complete
from preflow.code_digest import code_digest
from preflow.errors import PreflowError
from preflow.input_digests import datasets_digest, folders_digest
from preflow.packaged import eval_dataset_of, is_packaged
from preflow.ppo.reward_parts import classifier_of
from preflow.uris import is_gcs
from preflow.verbs import VERBS

_DATASETS = ("prompt_dataset", "preference_dataset", "eval_dataset")
_MODELS = {
    "policy_digest": "large_model_reference",
    "reward_base_digest": "reward_model_reference",
    "encoder_digest": "encoder_reference",
}


def resolve(pipeline: Pipeline, given: Mapping[str, Any], database: str) -> dict[str, Any]:
    """Completes, checks and resolves the parameters of a run.

    Args:
        pipeline: The compiled pipeline.
        given: The parameters that differ from the defaults.
        database: DSN of the run's database; '' takes it from the parameter `database`.

    Returns:
        Every parameter of the pipeline but those that belong to one run: `run_id` and `checkpoint_root`.

    Raises:
        PreflowError: A parameter or an input file is wrong, or the database cannot be reached.
    """
    values = settings(pipeline, given)
    return {**values, **filled_in(pipeline, values, database)}


def settings(pipeline: Pipeline, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that a person may set: complete, with absolute local paths, and checked.

    Raises:
        PreflowError: A parameter or an input file is wrong.
    """
    values = _absolute(complete(pipeline, given))
    check(pipeline, values)
    return values


def filled_in(pipeline: Pipeline, values: Mapping[str, Any], database: str) -> dict[str, Any]:
    """The parameters of a pipeline that the launcher fills in, given those that a person may set.

    Raises:
        PreflowError: An input file or the database cannot be read.
    """
    filled = {name: fill() for name, fill in _fillers(values, database).items() if name in pipeline.parameters}
    return {**filled, **({"parameters": {**values, **filled}} if "parameters" in pipeline.parameters else {})}


def local_inputs(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """The files and folders of this machine that the values of options name, by option."""
    named = {name: [values.get(name, "")] for name in (*_DATASETS, *_MODELS.values())}
    named["reward_weights"] = [classifier_of(part)[0] for part in values.get("reward_weights", ())]
    found = {as_option(name): [path for path in paths if path.startswith("/")] for name, paths in named.items()}
    return {name: paths for name, paths in found.items() if paths}


def _fillers(values: Mapping[str, Any], database: str) -> dict[str, Callable[[], Any]]:
    """How each parameter is filled in; called for those that a pipeline has."""
    from preflow import store

    def in_store(read: Callable[[Any], str]) -> str:
        with store.connect(database or store.database_url(values["database"])) as connection:
            return read(connection)

    classifiers = [classifier_of(part)[0] for part in values.get("reward_weights", ())]
    return {
        **{f"{name}_code": partial(code_digest, verb.module) for name, verb in VERBS.items()},
        "datasets_digest": lambda: datasets_digest(_datasets_read(values)),
        **{name: partial(folders_digest, [values.get(model, "")]) for name, model in _MODELS.items()},
        "classifiers_digest": partial(folders_digest, classifiers),
        "store_id": partial(in_store, store.store_id),
        "feedback_watermark": partial(in_store, store.feedback_watermark),
    }


def _datasets_read(values: Mapping[str, Any]) -> list[str]:
    prompts, preferences, judged = (values[name] for name in _DATASETS)
    return [prompts, preferences, eval_dataset_of(prompts, judged)]


def _absolute(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with local paths made absolute, so that nothing depends on the working directory."""
    values = dict(parameters)
    for name in _DATASETS:
        value = values.get(name)
        if value and not is_gcs(value) and not is_packaged(value):
            path = Path(os.path.expanduser(value)).absolute()
            if not path.is_file():
                raise PreflowError(
                    f"{as_option(name)}: no file at {path}; give a path, a gs:// URI or a packaged dataset"
                )
            values[name] = str(path)
    for name in _MODELS.values():
        if values.get(name):
            values[name] = _absolute_model(values[name])
    if "reward_weights" in values:
        values["reward_weights"] = {_absolute_part(name): weight for name, weight in values["reward_weights"].items()}
    return values


def _absolute_model(reference: str) -> str:
    folder = Path(os.path.expanduser(reference))
    return str(folder.absolute()) if folder.is_dir() else reference


def _absolute_part(part: str) -> str:
    """A part of the reward; `classifier:` may name a folder."""
    model, label = classifier_of(part)
    return f"classifier:{_absolute_model(model)}{label and f'#{label}'}" if model else part
