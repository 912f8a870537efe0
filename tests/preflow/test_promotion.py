"""A policy is promoted when it surely wins and stayed close; the reason carries the numbers."""

import math

import pytest

from preflow.errors import PreflowError
from preflow.promotion import PromotionConfig, check, promote


@pytest.mark.parametrize(
    ("low", "kl", "promoted", "words"),
    [
        (
            0.625, 2.5, True,
            "Promoted: the win rate is surely above 50.0% (its lower end is 62.5%), "
            "and the divergence of 2.50 nats per answer is within 10.",
        ),
        (0.625, 10.0, True, "within 10."),
        (0.5, 2.5, False, "Not promoted: the win rate is not surely above 50.0% (its lower end is 50.0%), but"),
        (0.625, 10.5, False, "but the divergence of 10.50 nats per answer is not within 10."),
        (0.4, 10.5, False, ", and the divergence"),
        (math.nan, 2.5, False, "lower end is nan%"),
        (0.625, math.nan, False, "nan nats"),
    ],
)  # fmt: skip
def test_promotion(low: float, kl: float, promoted: bool, words: str) -> None:
    decision, reason = promote(win_rate_low=low, kl=kl, config=PromotionConfig())
    assert decision is promoted
    assert words in reason


@pytest.mark.parametrize("wrong", [{"min_win_rate": 1.5}, {"max_kl": -1.0}])
def test_a_threshold_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(PreflowError, match=f"`{next(iter(wrong))}`: .* given; it must be"):
        check({"min_win_rate": 0.5, "max_kl": 10.0, **wrong})
