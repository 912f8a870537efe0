"""Settings of the verbs: typed, ranged, described once, and checked when they are made."""

from collections.abc import Mapping
from math import isfinite
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from preflow.errors import PreflowError


class Settings(BaseModel):
    """Immutable settings. Each field declares its type, range, default and description, and nothing is converted.

    Raises:
        PreflowError: A setting is unknown or missing, or its type or range is wrong; the message names it in backticks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            given = "" if first["type"] == "missing" else f"{first['input']!r} given; "
            if first["type"] == "extra_forbidden":
                raise PreflowError(f"`{name}` is not known; choose from {', '.join(type(self).model_fields)}") from None
            raise PreflowError(f"`{name}`: {given}{first['msg'].replace('Input should', 'it must')}") from None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Makes the settings from those of a step's arguments that are fields of this class.

        KFP hands some whole numbers on as floats: where a field is an `int`, 8.0 is taken for 8.
        """
        given = {name: arguments[name] for name in cls.model_fields if name in arguments}
        for name, value in given.items():
            if cls.model_fields[name].annotation is int and isinstance(value, float) and value.is_integer():
                given[name] = int(value)
        return cls(**given)


class ModelSettings(Settings):
    """Settings shared by all verbs that run a language model."""

    target_sequence_length: int = Field(64, ge=1, description="longest answer in tokens")
    seed: int = Field(0, ge=0, description="seed of everything random")


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def require(holds: bool, name: str, value: Any, must: str) -> None:
    """Raises a PreflowError about one setting unless `holds`; for rules that compare settings with each other.

    Args:
        holds: Whether the rule is kept.
        name: The setting.
        value: What was given.
        must: What the setting must be, such as "must divide `batch_size`, 32".
    """
    if not holds:
        raise PreflowError(f"`{name}`: {value!r} given; it {must}")
