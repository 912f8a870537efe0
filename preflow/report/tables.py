"""The tables of a report: win rates, scripted answers, what judges rest on, and both models' measures."""

from collections.abc import Callable
from dataclasses import dataclass

from preflow.evaluation.formats import MISSING, NARROW_SPACE, decimals, number, percent, percent_range, signed
from preflow.evaluation.names import CANARY_LIMIT, JudgeRole, at_temperature, name_of, temperature_key
from preflow.evaluation.win_rates import WinRate
from preflow.intervals import Interval, bootstrap_interval
from preflow.report.data import ReportData, number_in
from preflow.report.headline import Finding, finding_of
from preflow.rows import Answer

_SEED = 0
_TEXT_MEASURES = ("response_tokens", "eos_rate", "distinct_1", "distinct_2", "rouge_l", "bleu")
_COARSE = ("response_tokens", "bleu")  # tens rather than ones: one decimal says enough
_UNITS = {"response_tokens": "tokens", "bleu": "0 to 100", "kl": "nats per answer"}


@dataclass(frozen=True)
class JudgeRow:
    """One judge's line of the forest plot; `win` is None when it scored no prompt."""

    judge: str
    name: str
    role: JudgeRole
    win: WinRate | None
    finding: Finding
    controlled_finding: Finding
    raw: str
    raw_interval: str
    controlled: str
    controlled_interval: str
    counts: str


@dataclass(frozen=True)
class MeasureRow:
    """One measure of both models, as text. `finding` is `unclear` for measures where more is not better."""

    key: str
    name: str
    unit: str
    base: str
    tuned: str
    change: str
    interval: str
    finding: Finding


@dataclass(frozen=True)
class BasisRow:
    """What a judge rests on, and what was trained on that, as text."""

    name: str
    rests_on: str
    trained: str


@dataclass(frozen=True)
class CanaryCell:
    """The share of references that a canary beats, whether that is too much, and the share of the base's answers."""

    references: str
    base: str
    too_many: bool


@dataclass(frozen=True)
class CanaryTable:
    """How often each judge prefers a scripted answer; `rows` hold a judge's name and a cell for each canary."""

    canaries: tuple[str, ...]
    rows: tuple[tuple[str, tuple[CanaryCell, ...]], ...]


def judge_rows(data: ReportData) -> list[JudgeRow]:
    """All judges with their greedy win rates, by role."""
    return [
        _judge_row(judge, name_of(judge), data.judge_roles[judge], data.win_rates.get(judge)) for judge in data.judges
    ]


def temperature_rows(data: ReportData) -> list[JudgeRow]:
    """The win rates of the headline's judge at each temperature, and against the base model at its best."""
    judge = data.headline_judge
    if judge is None:
        return []
    role, best = data.judge_roles[judge], data.summary["best_base"]
    rows = [
        _judge_row(judge, at_temperature(at).capitalize(), role, data.win_rates_at(at).get(judge))
        for at in data.summary["temperatures"]
    ]
    if best.get("win_rate") is None:
        return rows
    win = WinRate(**{name: value for name, value in best.items() if name != "temperature"})
    of_base = at_temperature(temperature_key(best["temperature"]))
    return [*rows, _judge_row(judge, f"Greedily, against the base {of_base}, its best", role, win)]


def canary_table(data: ReportData) -> CanaryTable:
    """How often each judge prefers scripted answers to references and to the base model's answers."""
    shares, wins = data.summary["canaries"], data.summary["canary_wins"]
    canaries = tuple(next(iter(shares.values()), {}))
    rows = [
        (
            name_of(judge),
            tuple(
                CanaryCell(
                    percent(shares[judge][canary]),
                    percent(wins.get(judge, {}).get(canary)),
                    shares[judge][canary] > CANARY_LIMIT,
                )
                for canary in canaries
            ),
        )
        for judge in data.judges
        if judge in shares
    ]
    return CanaryTable(tuple(name_of(canary) for canary in canaries), tuple(rows))


def judge_bases(data: ReportData) -> list[BasisRow]:
    """What each judge rests on, and what else that was trained rests on the same."""
    judges = data.summary["judges"]
    trained = [judge for judge, about in judges.items() if about["role"] != "monitor"]
    rows = []
    for judge in data.judges:
        about = judges[judge]
        shared = [
            name_of(other)
            for other in trained
            if other != judge
            and judges[other]["role"] != "label score"
            and {*judges[other]["bases"]} & {*about["bases"]}
        ]
        own = ["PPO maximized it"] if about["maximized"] else []
        rests_on = ", ".join(about["bases"])
        rows.append(BasisRow(name_of(judge), rests_on, ", ".join([*own, *shared]) or "nothing"))
    return rows


def _judge_row(judge: str, name: str, role: JudgeRole, win: WinRate | None) -> JudgeRow:
    if win is None:
        return JudgeRow(judge, name, role, None, "unclear", "unclear", MISSING, "", MISSING, "", MISSING)
    return JudgeRow(
        judge=judge,
        name=name,
        role=role,
        win=win,
        finding=finding_of(win.low, win.high),
        controlled_finding=finding_of(win.length_controlled_low, win.length_controlled_high),
        raw=percent(win.win_rate),
        raw_interval=percent_range(win.low, win.high),
        controlled=percent(win.length_controlled),
        controlled_interval=percent_range(win.length_controlled_low, win.length_controlled_high),
        counts=f"{win.wins} / {win.ties} / {win.losses}",
    )


def score_rows(data: ReportData) -> list[MeasureRow]:
    """The mean score of every judge that has one, base against tuned."""
    judges = [judge for judge in data.judges if judge in data.base or judge in data.tuned]
    return [_measure_row(data, judge, _score_by(judge), judged=True) for judge in judges]


def text_rows(data: ReportData) -> list[MeasureRow]:
    """Measures of the answers' texts, further measures the maps hold, and the KL divergence."""
    known = {*data.judges, *_TEXT_MEASURES, "kl"}
    others = [key for key in [*data.base, *data.tuned] if key not in known]
    of_answer: dict[str, Callable[[Answer], float | None]] = {
        "response_tokens": lambda answer: float(answer.tokens),
        "eos_rate": lambda answer: float(answer.finish_reason == "stop"),
    }
    keys = [key for key in [*_TEXT_MEASURES, *dict.fromkeys(others)] if key in data.base or key in data.tuned]
    rows = [_measure_row(data, key, of_answer.get(key), judged=False) for key in keys]
    kl = MeasureRow(
        "kl", name_of("kl"), _UNITS["kl"], MISSING, number(number_in(data.summary, "kl")), MISSING, "", "unclear"
    )
    return [*rows, kl]


def _measure_row(
    data: ReportData, key: str, of_answer: Callable[[Answer], float | None] | None, *, judged: bool
) -> MeasureRow:
    """One row; its change gets an interval when the measure exists per answer (`of_answer`)."""
    scale, digits, unit = 1.0, None, ""
    if key == "eos_rate":
        scale, digits, unit = 100.0, 1, f"{NARROW_SPACE}%"
    elif key in _COARSE:
        digits = 1
    base, tuned = (None if value is None else scale * value for value in (data.base.get(key), data.tuned.get(key)))
    digits = decimals(base, tuned) if digits is None else digits
    change = tuned - base if tuned is not None and base is not None else None
    interval = _change_interval(data, of_answer) if of_answer and change is not None else None
    span = f"{signed(scale * interval.low, digits)} to {signed(scale * interval.high, digits)}" if interval else ""
    finding: Finding = "unclear"
    if judged and interval:
        finding = "better" if interval.low > 0 else "worse" if interval.high < 0 else "unclear"
    return MeasureRow(
        key=key,
        name=name_of(key),
        unit=_UNITS.get(key, ""),
        base=number(base, digits) + (unit if base is not None else ""),
        tuned=number(tuned, digits) + (unit if tuned is not None else ""),
        change=signed(change, digits) + (" points" if unit and change is not None else ""),
        interval=span,
        finding=finding,
    )


def _score_by(judge: str) -> Callable[[Answer], float | None]:
    return lambda answer: answer.scores.get(judge)


def _change_interval(data: ReportData, of_answer: Callable[[Answer], float | None]) -> Interval | None:
    """Bootstrap interval of the mean change over the prompts where both answers have the measure."""
    answers = [row.answers for row in data.evaluations if {"base", "tuned"} <= row.answers.keys()]
    pairs = [(of_answer(both["base"]), of_answer(both["tuned"])) for both in answers]
    changes = [tuned - base for base, tuned in pairs if base is not None and tuned is not None]
    return bootstrap_interval(changes, _SEED) if len(changes) > 1 else None
