import math

from preflow.evaluation.formats import MISSING, decimals, number, percent, percent_range, signed, whole


def test_percentages_have_one_decimal() -> None:
    assert percent(0.6842) == "68.4\u202f%"
    assert percent_range(0.5, 1.0) == "50.0 to 100.0\u202f%"


def test_minus_is_a_minus_sign_and_zero_has_none() -> None:
    assert number(-1.5) == "−1.500"
    assert number(-0.0001) == "0.000"


def test_decimals_follow_the_size() -> None:
    assert [number(value) for value in (0.12345, 12.345, 123.45)] == ["0.123", "12.35", "123.5"]
    assert decimals(0.5, 60.7, None) == 2


def test_changes_carry_a_sign_unless_they_round_to_zero() -> None:
    assert [signed(value) for value in (0.25, -0.25, 0.0001)] == ["+0.250", "−0.250", "0.000"]


def test_counts_are_grouped() -> None:
    assert whole(12345) == "12\u202f345"


def test_what_is_no_number_is_a_dash() -> None:
    for value in (None, math.nan, math.inf):
        assert {percent(value), number(value), signed(value), whole(value), percent_range(value, 1.0)} == {MISSING}
