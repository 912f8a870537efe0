"""Settings are typed, ranged and checked when they are made."""

from typing import Any

import pytest
from pydantic import Field

from preflow.errors import PreflowError
from preflow.settings import Settings, require


class Sample(Settings):
    """Settings of this test."""

    steps: int = Field(3, ge=1, description="how many")
    rate: float = Field(0.5, gt=0, description="how fast")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "`steps`: 0 given; it must be greater than or equal to 1"),
        ({"steps": 2.0}, "`steps`: 2.0 given; it must be a valid integer"),
        ({"steps": True}, "`steps`: True given; it must be a valid integer"),
        ({"rate": "fast"}, "`rate`: 'fast' given; it must be a valid number"),
        ({"rate": float("nan")}, "`rate`: nan given; it must be a finite number"),
        ({"stepz": 2}, "`stepz` is not known; choose from steps, rate"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PreflowError) as error:
        Sample(**given)
    assert str(error.value) == message


def test_whole_numbers_are_numbers_and_defaults_hold() -> None:
    assert Sample(rate=2).model_dump() == {"steps": 3, "rate": 2.0}


def test_settings_of_a_steps_arguments_take_whole_floats_for_integers() -> None:
    made = Sample.of({"steps": 8.0, "rate": 1, "other": "x"})
    assert (made.steps, type(made.steps), made.rate) == (8, int, 1.0)
    with pytest.raises(PreflowError, match="`steps`: 8.5 given; it must be a valid integer"):
        Sample.of({"steps": 8.5})


def test_a_rule_between_settings_names_the_setting() -> None:
    require(True, "steps", 3, "must not matter")
    with pytest.raises(PreflowError, match="`steps`: 3 given; it must divide `total`, 32"):
        require(False, "steps", 3, "must divide `total`, 32")
