"""The library's verbs as subcommands, made from their signatures: the same functions that the components call."""

import argparse
import collections.abc
import dataclasses
import importlib
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.files import preflow_home
from pipelines.launch import step_database
from preflow.errors import PreflowError

VERBS = {
    "log-generations": (
        "preflow.generation.log_generations",
        "log_generations",
        "sample answers to prompts and log them",
    ),
    "auto-score": ("preflow.scoring.score_generations", "score_generations", "score logged answers"),
    "feedback-snapshot": ("preflow.feedback", "snapshot_feedback", "write the feedback below a watermark"),
    "build-preferences": ("preflow.preferences", "build_preferences", "make preference pairs of scores and feedback"),
    "train-reward-model": ("preflow.reward", "train_reward_model", "train a reward model on preference pairs"),
    "ppo-optimize": ("preflow.ppo", "optimize_policy", "tune a policy with PPO"),
    "eval-inference": ("preflow.evaluation", "evaluate", "compare a tuned policy with its base"),
}


@dataclasses.dataclass(frozen=True)
class _Option:
    """One option. `owner` is the parameter it belongs to; `field` the name inside it when that is a dataclass."""

    owner: str
    field: str
    kind: Any
    default: Any


def run_verb(command: str, arguments: Sequence[str]) -> None:
    """Runs one verb with options from the command line and prints its summary as JSON.

    Raises:
        PreflowError: From the verb itself.
    """
    module, name, help_text = VERBS[command]
    function = getattr(importlib.import_module(module), name)
    call_verb(function, command, help_text, arguments)


def call_verb(function: Callable[..., Any], command: str, help_text: str, arguments: Sequence[str]) -> None:
    """Parses options for a keyword-only function, calls it, and prints what it returns as JSON."""
    options = list(_options(function))
    parser = argparse.ArgumentParser(prog=f"preflow {command}", description=help_text, allow_abbrev=False)
    for option in options:
        _add(parser, option)
    given = vars(parser.parse_args(arguments))
    values, groups = _collect(options, given)
    hints = typing.get_type_hints(function)
    for owner, fields in groups.items():
        values[owner] = hints[owner](**fields)
    if "database_url" not in values:
        summary = function(**values)
    else:
        reference = values.pop("database_url")
        with step_database(preflow_home(), reference) as url:
            summary = function(**values, database_url=url or _named(reference))
    print(json.dumps(summary, indent=2, ensure_ascii=False, default=str))


def _named(reference: str) -> str:
    from preflow.store import database_url

    return database_url(reference)


def _options(function: Callable[..., Any]) -> Iterator[_Option]:
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        kind = hints[name]
        if dataclasses.is_dataclass(kind):
            fields = typing.get_type_hints(kind)
            for entry in dataclasses.fields(kind):
                default = entry.default if entry.default is not dataclasses.MISSING else inspect.Parameter.empty
                if entry.default_factory is not dataclasses.MISSING:
                    default = entry.default_factory()
                yield _Option(name, entry.name, fields[entry.name], default)
        elif name == "database_url":
            yield _Option(name, "", str, "")
        else:
            default = parameter.default
            if default is inspect.Parameter.empty and type(None) in typing.get_args(kind):
                default = None
            yield _Option(name, "", kind, default)


def _add(parser: argparse.ArgumentParser, option: _Option) -> None:
    name = "database" if option.owner == "database_url" else option.field or option.owner
    required = option.default is inspect.Parameter.empty
    shown = "required" if required else f"default: {option.default!r}"
    if option.owner == "database_url":
        shown = "reference of the database; default: DATABASE_URL, or else the embedded server"
    parser.add_argument(
        f"--{name.replace('_', '-')}",
        dest=f"{option.owner}.{option.field}",
        type=_reader(option.kind),
        required=required,
        default=None if required else option.default,
        metavar=_word(option.kind),
        help=shown.replace("%", "%%"),
    )


def _collect(options: Sequence[_Option], given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    values: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for option in options:
        value = given[f"{option.owner}.{option.field}"]
        if option.field:
            groups.setdefault(option.owner, {})[option.field] = value
        else:
            values[option.owner] = value
    return values, groups


def _plain(kind: Any) -> Any:
    """`X | None` as `X`, `Mapping[str, float]` as `dict`, `Sequence[str]` as `list`."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    plain = typing.get_origin(kind) or kind
    return {collections.abc.Mapping: dict, collections.abc.Sequence: list}.get(plain, plain)


def _reader(kind: Any) -> Callable[[str], Any]:
    plain = _plain(kind)
    if plain is bool:
        return _boolean
    if plain in (dict, list):
        return lambda text: _json(text, plain)
    return plain if plain in (int, float, Path) else str


def _word(kind: Any) -> str:
    plain = _plain(kind)
    return {int: "N", float: "X", Path: "PATH", dict: "JSON", list: "JSON", bool: "true|false"}.get(plain, "TEXT")


def _boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"true or false was expected, got {text!r}")
    return text == "true"


def _json(text: str, kind: type) -> Any:
    """JSON, or the path of a file that holds it."""
    if not text.lstrip().startswith(("{", "[")):
        try:
            text = Path(text).read_text(encoding="utf-8")
        except OSError as error:
            raise PreflowError(f"{text}: neither JSON nor a file that can be read ({error.strerror})") from None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, kind):
        raise argparse.ArgumentTypeError(f"a JSON {'object' if kind is dict else 'list'} was expected")
    return value
