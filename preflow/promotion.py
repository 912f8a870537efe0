"""Whether a tuned policy is good enough to be the next one."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from preflow.settings import Settings


class PromotionConfig(Settings):
    """Thresholds of promotion."""

    min_win_rate: float = Field(0.5, ge=0, le=1, description="win rate that its interval's lower end must exceed")
    max_kl: float = Field(10.0, ge=0, description="largest divergence from the base in nats per answer")


def check(arguments: Mapping[str, Any]) -> None:
    """Raises a PreflowError if a threshold is out of range."""
    PromotionConfig.of(arguments)


def promote(*, win_rate_low: float, kl: float, config: PromotionConfig) -> tuple[bool, str]:
    """Promotes a policy whose win rate is surely above a threshold and which stayed close to its base.

    Args:
        win_rate_low: Lower end of the win rate's interval, 0 to 1.
        kl: Divergence from the base, in nats per answer.
        config: Thresholds.

    Returns:
        Whether it is promoted, and the reason as a sentence with the numbers. A number that is NaN fails.
    """
    wins, close = win_rate_low > config.min_win_rate, kl <= config.max_kl
    low, least = f"{win_rate_low:.1%}", f"{config.min_win_rate:.1%}"
    win = f"the win rate is {'surely' if wins else 'not surely'} above {least} (its lower end is {low})"
    near = f"the divergence of {kl:.2f} nats per answer is {'within' if close else 'not within'} {config.max_kl:g}"
    promoted = wins and close
    joined = "and" if wins == close else "but"
    return promoted, f"{'Promoted' if promoted else 'Not promoted'}: {win}, {joined} {near}."
