"""The verdict on a tuned policy: one function, on which promotion, report and record rest."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from preflow.evaluation.formats import NARROW_SPACE, percent, percent_range
from preflow.evaluation.names import LABEL_SCORE, REWARD_MODEL, WITHOUT_ENDING, at_temperature, in_sentence
from preflow.settings import Settings, is_number

_EVEN = 0.5
_BASELINES = {"baseline_longer": "always choosing the longer answer", "baseline_similarity": "similarity to the prompt"}


class PromotionConfig(Settings):
    """Thresholds of promotion."""

    min_win_rate: float = Field(0.5, ge=0, le=1, description="win rate that its interval's lower end must exceed")
    max_kl: float = Field(
        10.0, ge=0, description="divergence from the base in nats per answer that its interval's upper end may reach"
    )


@dataclass(frozen=True)
class Condition:
    """A condition of promotion: whether it holds, and a sentence that says so with the numbers.

    `holds` is None where the pipeline does not have the part that the condition is about.
    """

    holds: bool | None
    text: str


@dataclass(frozen=True)
class Verdict:
    """Whether a policy is promoted, by which judge, and all conditions."""

    promoted: bool
    lead: str | None
    conditions: tuple[Condition, ...]

    @property
    def reason(self) -> str:
        """What stands in the way, or that nothing does, in a sentence."""
        failed = [condition.text for condition in self.conditions if condition.holds is False]
        if failed:
            return f"Not promoted: {'; '.join(failed)}."
        held = sum(condition.holds is True for condition in self.conditions)
        return f"Promoted: all {held} conditions hold."

    @property
    def reasons(self) -> list[str]:
        """Every condition as a text that begins with its outcome."""
        outcomes = {True: "holds", False: "fails", None: "not applicable"}
        return [f"{outcomes[condition.holds]}: {condition.text}" for condition in self.conditions]


def reach_verdict(summary: Mapping[str, Any], config: PromotionConfig) -> Verdict:
    """Decides about promotion.

    Promoted is what, at every judged temperature, wins by the leading judge with the whole interval above
    `min_win_rate`, is not surely below one half at equal length and without "ended properly", and has no monitor surely
    below one half; what greedily beats the base model at the temperature that is best for the base; whose reward model
    is more accurate than simple rules; and whose divergence is within `max_kl`. A missing figure fails its condition.

    Args:
        summary: What `eval_inference` found.
        config: Thresholds.
    """
    lead = summary["lead"]
    conditions = (
        *_leading(summary),
        *(condition for name in summary["temperatures"] for condition in _at(name, summary, config)),
        _against_best_base(summary),
        _reward_model(summary),
        _divergence(summary, config),
    )
    return Verdict(all(condition.holds is not False for condition in conditions), lead, conditions)


def _leading(summary: Mapping[str, Any]) -> Iterator[Condition]:
    """Whether there is a judge that may lead."""
    if summary["lead"]:
        yield Condition(True, f"{in_sentence(summary['lead'])} leads")
        return
    passed_over = "; ".join(f"{in_sentence(judge)} {why}" for judge, why in summary["passed_over"].items())
    yield Condition(False, f"no judge may lead ({passed_over or 'there is neither a label score nor a monitor'})")


def _at(name: str, summary: Mapping[str, Any], config: PromotionConfig) -> Iterator[Condition]:
    """The conditions at one temperature."""
    rates, lead, where = summary["temperatures"][name], summary["lead"], at_temperature(name)
    win = rates.get(lead, {})
    if lead:
        yield Condition(
            _above(win.get("low"), config.min_win_rate),
            f"{where} the policy wins {_rate(win)} by {in_sentence(lead)}, whose lower end must be above "
            f"{percent(config.min_win_rate)}",
        )
        equal = {key: win.get(f"length_controlled{rest}") for key, rest in _LENGTH_CONTROLLED.items()}
        yield Condition(_not_surely_below(equal), f"{where} it wins {_rate(equal)} at equal length")
    if lead != LABEL_SCORE or WITHOUT_ENDING not in summary["judges"]:
        yield Condition(None, f"{where} nothing is left out, because ending properly is no part of the leading judge")
    else:
        without = rates.get(WITHOUT_ENDING, {})
        yield Condition(_not_surely_below(without), f"{where} it wins {_rate(without)} without “ended properly”")
    monitors = [judge for judge, about in summary["judges"].items() if about["role"] == "monitor" and judge != lead]
    if not monitors:
        yield Condition(None, f"{where} no monitor can fall, because there is none beside the leading judge")
    for judge in monitors:
        watched = rates.get(judge, {})
        yield Condition(
            _not_surely_below(watched), f"{where} it wins {_rate(watched)} by the monitor {in_sentence(judge)}"
        )


_LENGTH_CONTROLLED = {"win_rate": "", "low": "_low", "high": "_high"}


def _against_best_base(summary: Mapping[str, Any]) -> Condition:
    best = summary["best_base"] or {}
    temperature = best.get("temperature")
    of_base = "at its best temperature" if temperature is None else at_temperature(f"{temperature:g}")
    return Condition(
        _above(best.get("low"), _EVEN),
        f"greedily it wins {_rate(best)} against the base model {of_base}, which suits the base best; the lower end "
        f"must be above {percent(_EVEN)}",
    )


def _reward_model(summary: Mapping[str, Any]) -> Condition:
    if not summary["judges"].get(REWARD_MODEL, {}).get("maximized"):
        return Condition(None, "the reward model need not beat simple rules, because PPO did not use it")
    accuracy = summary.get("reward_model_accuracy")
    rules: dict[str, Any] = {text: summary.get(name) for name, text in _BASELINES.items()}
    named = " and ".join(f"{percent(value)} for {text}" for text, value in rules.items())
    holds = all(is_number(value) and _above(accuracy, value) for value in rules.values())
    return Condition(
        holds, f"the reward model picks the preferred answer {percent(accuracy)} of the time, against {named}"
    )


def _divergence(summary: Mapping[str, Any], config: PromotionConfig) -> Condition:
    high = summary["kl_high"]
    shown = f"{high:.2f}" if is_number(high) else "unknown"
    return Condition(
        is_number(high) and high <= config.max_kl,
        f"the divergence from the base is at most {shown} nats per answer (upper end of its interval; "
        f"{config.max_kl:g} are allowed)",
    )


def _above(value: Any, bar: float) -> bool:
    return is_number(value) and value > bar


def _not_surely_below(rate: Mapping[str, Any]) -> bool:
    return is_number(rate.get("high")) and rate["high"] >= _EVEN


def _rate(rate: Mapping[str, Any]) -> str:
    if not is_number(rate.get("win_rate")):
        return "an unknown share of prompts (no score)"
    interval = percent_range(rate.get("low"), rate.get("high"))
    return f"{percent(rate['win_rate'])} of prompts (95{NARROW_SPACE}% interval {interval})"
