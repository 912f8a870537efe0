"""Command-line options made from the parameters of pipelines and from the signatures of verbs."""

import collections.abc
import inspect
import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from preflow.errors import PreflowError

_REQUIRED = inspect.Parameter.empty
_METAVARS: dict[Any, str] = {
    **{int: "N", float: "X", bool: "true|false", Path: "PATH", dict: "JSON", list: "JSON"},
    **{collections.abc.Mapping: "JSON", collections.abc.Sequence: "JSON"},
}


def as_option(name: str) -> str:
    """A parameter as it is typed on a command line."""
    return f"--{name.replace('_', '-')}"


def in_options(text: str, names: Mapping[str, str]) -> str:
    """A text with options in place of the settings in backticks; `names` has each setting's name as it is typed."""
    return re.sub(r"`(\w+)`", lambda found: as_option(names[found[1]]) if found[1] in names else found[0], text)


class Option(click.Option):
    """An option under a heading. What is typed is read by `read`; an option that is not given is None."""

    def __init__(
        self, name: str, kind: Any, help: str, *, group: str, default: Any, read: Callable[[str], Any]
    ) -> None:
        self.group, self._read, required = group, read, default is _REQUIRED
        default = None if required else default
        shown = "none" if default in (None, "") else default if isinstance(default, str) else json.dumps(default)
        super().__init__(
            [as_option(name), name],
            metavar=_METAVARS.get(_plain(kind), "TEXT"),
            help=help + ("" if required else f"  [default: {shown}]"),
            required=required,
        )

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """Reads the text that was typed."""
        return None if value is None else self._read(value)


class Command(click.Command):
    """A command that shows its options in groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes one section per heading, in the order of the options."""
        names = {parameter.name: parameter.name for parameter in self.get_params(ctx) if parameter.name}
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record:
                option, help = record
                groups.setdefault(getattr(parameter, "group", "Options"), []).append((option, in_options(help, names)))
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def verb_options(function: Callable[..., Any]) -> Iterator[Option]:
    """An option for each argument of a keyword-only function; those of a settings class get one per field.

    Help comes from the function's docstring and from the fields' descriptions. `database_url` becomes `--database`: a
    reference, because a command line is no place for a password.
    """
    from docstring_parser import parse

    described = {
        entry.arg_name: " ".join((entry.description or "").split()) for entry in parse(function.__doc__ or "").params
    }
    for name, kind, default in _arguments(function):
        if name == "database_url":
            name, kind, default = "database", str, "DATABASE_URL or the embedded server"
            described[name] = "reference of the database"
        if not _is_settings(kind):
            help = " ".join(described.get(name, "").split()).rstrip(".")
            yield Option(name, kind, help, group="Files", default=default, read=_reader(name, kind))
            continue
        for field, info in kind.model_fields.items():
            group = (info.json_schema_extra or {}).get("group", "settings").capitalize()
            default = _REQUIRED if info.is_required() else info.default
            help = info.description or ""
            yield Option(field, info.annotation, help, group=group, default=default, read=json_or_text)


def verb_arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, from the options that `verb_options` made and a person gave.

    Raises:
        PreflowError: A setting is wrong.
    """
    given = {name: value for name, value in given.items() if value is not None}
    return {
        name: kind.of(given) if _is_settings(kind) else given.get(name, None if default is _REQUIRED else default)
        for name, kind, default in _arguments(function)
    }


def _arguments(function: Callable[..., Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, type and default of each argument; one that may be None has the default None."""
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        optional = parameter.default is _REQUIRED and type(None) in typing.get_args(hints[name])
        yield name, hints[name], None if optional else parameter.default


def _plain(kind: Any) -> Any:
    """`X | None` as `X`, `dict[str, float]` as `dict`."""
    if type(None) in typing.get_args(kind):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return typing.get_origin(kind) or kind


def _is_settings(kind: Any) -> bool:
    from preflow.settings import Settings

    return isinstance(kind, type) and issubclass(kind, Settings)


def json_or_text(text: str) -> Any:
    """JSON, or the text itself where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _reader(name: str, kind: Any) -> Callable[[str], Any]:
    """Reads a value of a type; an object or a list may also stand in a JSON file."""
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(kind)

    def read(text: str) -> Any:
        plain = _plain(kind)
        if _METAVARS.get(plain) == "JSON" and not text.lstrip().startswith(("{", "[")):
            try:
                text = Path(text).read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                raise PreflowError(f"{as_option(name)}: neither JSON nor a file of JSON ({error})") from None
        value = text if plain in (str, Path) else json_or_text(text)
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            raise PreflowError(f"{as_option(name)}: {error.errors()[0]['msg']}; got {text!r}") from None

    return read
