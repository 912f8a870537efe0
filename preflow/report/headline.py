"""The finding in plain words: whether the policy is promoted, by which judge, and what a careful reader should know."""

from dataclasses import dataclass
from typing import Literal

from preflow.evaluation.formats import NARROW_SPACE, percent, percent_range
from preflow.evaluation.names import REWARD_MODEL, in_sentence
from preflow.evaluation.win_rates import WinRate
from preflow.report.data import ReportData, number_in

Finding = Literal["better", "worse", "unclear"]
_LOPSIDED = 0.9


@dataclass(frozen=True)
class Headline:
    """The finding: a line, a sentence with its numbers, and cautions for a careful reader."""

    line: str
    sentence: str
    cautions: tuple[str, ...]


def finding_of(low: float, high: float) -> Finding:
    """`better` or `worse` when the whole interval of a win rate lies on one side of one half, else `unclear`."""
    if low > 0.5:
        return "better"
    return "worse" if high < 0.5 else "unclear"


def make_headline(data: ReportData) -> Headline:
    """The finding of a run: the verdict, the greedy win rate by the leading judge, and cautions."""
    lead = data.verdict.lead
    win = data.win_rates.get(lead) if lead else None
    if lead is None or win is None:
        return Headline("Not promoted: no judge can be trusted", data.verdict.reason, tuple(_reward_cautions(data)))
    found = finding_of(win.low, win.high)
    if data.verdict.promoted:
        line = "Promoted: better than the base model"
    else:
        lines: dict[Finding, str] = {
            "better": "Not promoted, although it wins greedily",
            "worse": "Not promoted: worse than the base model",
            "unclear": "Not promoted: no clear difference from the base model",
        }
        line = lines[found]
    scored = win.wins + win.ties + win.losses
    prompts = "the one test prompt" if scored == 1 else f"{scored} test prompts"
    ties = ", a tie counting as half a win" if win.ties else ""
    sentence = (
        f"By {in_sentence(lead)} the tuned model's greedy answers win {percent(win.win_rate)} of {prompts}{ties} "
        f"(95{NARROW_SPACE}% interval {percent_range(win.low, win.high)})."
    )
    cautions = [*_unscored_cautions(data), *_length_cautions(data), *_reward_cautions(data)]
    return Headline(line, sentence, tuple(cautions))


def _unscored_cautions(data: ReportData) -> list[str]:
    """Judges that could not score some prompts: the leading one and the monitors."""
    watched = [judge for judge, role in data.judge_roles.items() if role == "monitor" or judge == data.verdict.lead]
    missing = {judge: len(data.evaluations) - _scored(data.win_rates.get(judge)) for judge in watched}
    return [
        f"On {count} of {len(data.evaluations)} prompts {in_sentence(judge)} of one or both answers is missing; they "
        "are left out."
        for judge, count in missing.items()
        if count
    ]


def _scored(win: WinRate | None) -> int:
    return win.wins + win.ties + win.losses if win else 0


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


def _reward_cautions(data: ReportData) -> list[str]:
    """Signs that the reward model was weak or was exploited."""
    found = []
    lead = data.win_rates.get(data.verdict.lead or "")
    win = data.win_rates.get(REWARD_MODEL)
    if win and lead and finding_of(win.low, win.high) == "better" and finding_of(lead.low, lead.high) != "better":
        found.append(
            f"The reward model prefers the tuned model ({percent(win.win_rate)}) where "
            f"{in_sentence(data.verdict.lead or '')} does not: training may have exploited the reward model's mistakes."
        )
    low = number_in(data.summary, "reward_model_accuracy_low")
    baselines = {
        "always choosing the longer answer": number_in(data.summary, "baseline_longer"),
        "similarity to the prompt": number_in(data.summary, "baseline_similarity"),
    }
    for baseline, accuracy in baselines.items():
        if low is not None and accuracy is not None and low <= accuracy:
            found.append(f"The reward model is not clearly more accurate than {baseline} ({percent(accuracy)}).")
    return found
