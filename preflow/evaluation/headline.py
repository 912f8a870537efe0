"""The finding in plain words: whether the tuned model is better, by which judge, and with which reservations."""

from dataclasses import dataclass
from typing import Literal

from preflow.evaluation.formats import NARROW_SPACE, percent, percent_range
from preflow.evaluation.report_data import REWARD_MODEL, WITHOUT_ENDING, ReportData, in_sentence, number_in
from preflow.evaluation.win_rates import WinRate

Verdict = Literal["better", "worse", "unclear"]
_LOPSIDED = 0.9


@dataclass(frozen=True)
class Headline:
    """The finding: a line, a sentence with its numbers, and cautions for a careful reader."""

    verdict: Verdict
    line: str
    sentence: str
    cautions: tuple[str, ...]


def verdict_of(low: float, high: float) -> Verdict:
    """`better` or `worse` when the whole interval of a win rate lies on one side of one half, else `unclear`."""
    if low > 0.5:
        return "better"
    return "worse" if high < 0.5 else "unclear"


def _verdict(win: WinRate) -> Verdict:
    return verdict_of(win.low, win.high)


def make_headline(data: ReportData) -> Headline:
    """The finding of a run by its headline judge, with every caution that its numbers call for."""
    judge = data.headline_judge
    win = data.win_rates.get(judge) if judge else None
    if judge is None or win is None:
        sentence = "No judge could score both models on the same prompt, so nothing can be said about which is better."
        return Headline("unclear", "No verdict: no prompt was scored", sentence, tuple(_monitor_cautions(data)))
    verdict = _verdict(win)
    reservations = [*_judge_reservations(data, judge, win), *_monitor_cautions(data)]
    lines: dict[Verdict, str] = {
        "better": "The tuned model is better than the base model" + (", with reservations" if reservations else ""),
        "worse": "The tuned model is worse than the base model",
        "unclear": "No clear difference from the base model",
    }
    scored = win.wins + win.ties + win.losses
    prompts = "the one test prompt" if scored == 1 else f"{scored} test prompts"
    ties = ", a tie counting as half a win" if win.ties else ""
    sentence = (
        f"By {in_sentence(judge)} it wins {percent(win.win_rate)} of {prompts}{ties} "
        f"(95{NARROW_SPACE}% interval {percent_range(win.low, win.high)})."
    )
    if verdict == "unclear":
        sentence += " The interval includes one half, so this run does not show that either model is better."
    notes = [*_unscored_cautions(data, judge, win), *_length_cautions(data), *_reward_cautions(data)]
    return Headline(verdict, lines[verdict], sentence, (*reservations, *notes))


def _judge_reservations(data: ReportData, judge: str, win: WinRate) -> list[str]:
    """What weakens a win by the headline judge."""
    found: list[str] = []
    if data.judge_roles[judge] == "reward model":
        found.append("Training maximized this reward model's score, so a win by it proves little.")
    if _verdict(win) != "better":
        return found
    if verdict_of(win.length_controlled_low, win.length_controlled_high) != "better":
        interval = percent_range(win.length_controlled_low, win.length_controlled_high)
        found.append(
            f"At equal length the win rate is {percent(win.length_controlled)} ({interval}): "
            "the gain may be a change of length alone."
        )
    without = data.win_rates.get(WITHOUT_ENDING)
    if without is not None and _verdict(without) != "better":
        found.append(
            f"Without the metric “ended properly” the win rate is {percent(without.win_rate)} "
            f"({percent_range(without.low, without.high)}): what was learned may be little more than to stop in time."
        )
    return found


def _unscored_cautions(data: ReportData, judge: str, win: WinRate) -> list[str]:
    """A caution if the headline judge left out prompts."""
    unscored = len(data.evaluations) - (win.wins + win.ties + win.losses)
    if unscored <= 0:
        return []
    prompts = f"{unscored} of {len(data.evaluations)} prompts"
    return [f"On {prompts} {in_sentence(judge)} of one or both answers is missing; they are left out."]


def _length_cautions(data: ReportData) -> list[str]:
    """A caution if lengths nearly always differ in the same direction, which length control cannot correct."""
    pairs = [row.answers for row in data.evaluations if {"base", "tuned"} <= row.answers.keys()]
    longer = sum(answers["tuned"].tokens > answers["base"].tokens for answers in pairs)
    shorter = sum(answers["tuned"].tokens < answers["base"].tokens for answers in pairs)
    if longer + shorter == 0 or max(longer, shorter) < _LOPSIDED * (longer + shorter):
        return []
    counts = [f"longer on {longer}", f"shorter on {shorter}"]
    first, second = counts if longer > shorter else reversed(counts)
    return [
        f"The tuned answer is {first} and {second} of {len(pairs)} prompts. With so few prompts in the other "
        "direction, win rates at equal length are an extrapolation."
    ]


def _monitor_cautions(data: ReportData) -> list[str]:
    """Monitors that fell. They were never trained on, so a fall suggests that the gain came at their expense."""
    monitors = [judge for judge in data.judges if data.judge_roles[judge] == "monitor" and judge != data.headline_judge]
    return [
        f"The monitor {in_sentence(judge)} fell: by it the tuned model wins only "
        f"{percent(win.win_rate)} ({percent_range(win.low, win.high)})."
        for judge in monitors
        if (win := data.win_rates.get(judge)) and _verdict(win) == "worse"
    ]


def _reward_cautions(data: ReportData) -> list[str]:
    """Signs that the reward model was weak or was exploited."""
    found = []
    judge = data.headline_judge or ""
    headline, win = data.win_rates.get(judge), data.win_rates.get(REWARD_MODEL)
    if win and headline and _verdict(win) == "better" and _verdict(headline) != "better":
        found.append(
            f"The reward model prefers the tuned model ({percent(win.win_rate)}) where {in_sentence(judge)} does not: "
            "training may have exploited the reward model's mistakes."
        )
    low = number_in(data.reward_summary, "accuracy_low")
    baselines = {
        "always choosing the longer answer": number_in(data.reward_summary, "baseline_longer"),
        "similarity to the prompt": number_in(data.reward_summary, "baseline_similarity"),
    }
    for baseline, accuracy in baselines.items():
        if low is not None and accuracy is not None and low <= accuracy:
            found.append(f"The reward model is not clearly more accurate than {baseline} ({percent(accuracy)}).")
    return found
