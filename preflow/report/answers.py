"""The answers of both models side by side, by category, and the prompts with the largest changes."""

from dataclasses import dataclass
from typing import Literal

from preflow.chat import last_user_turn
from preflow.evaluation.formats import number
from preflow.evaluation.names import name_of
from preflow.evaluation.win_rates import outcome
from preflow.identity import as_messages
from preflow.report.data import ReportData
from preflow.rows import Answer, Evaluation, Message

Model = Literal["base", "tuned"]
MODELS: tuple[Model, ...] = ("base", "tuned")
Winner = Literal["tuned", "base", "tie", "unscored"]
_WINNERS: dict[float | None, Winner] = {1.0: "tuned", 0.5: "tie", 0.0: "base", None: "unscored"}


@dataclass(frozen=True)
class Side:
    """One model's answer as it is shown. `score` is the headline judge's; `scores` are the other judges'."""

    model: Model
    text: str
    tokens: int
    cut_off: bool
    score: str
    scores: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Example:
    """One test prompt with both answers.

    `summary` is its last question on one line; `whole` is true if that is the entire prompt. `gain` is tuned minus base
    by the headline judge, or None.
    """

    prompt_id: str
    turns: tuple[Message, ...]
    summary: str
    whole: bool
    reference: str | None
    sides: tuple[Side, ...]
    winner: Winner
    gain: float | None
    open: bool


@dataclass(frozen=True)
class Category:
    """The examples of one category, with how many each model won."""

    name: str
    examples: tuple[Example, ...]
    wins: int
    ties: int
    losses: int
    open: bool


def answer_categories(data: ReportData) -> list[Category]:
    """All prompts in the order of the data, grouped by category; the first `data.examples` of them are shown open."""
    groups: dict[str, list[Evaluation]] = {}
    for row in data.evaluations:
        groups.setdefault(row.category or "", []).append(row)
    categories, shown = [], 0
    for name, rows in groups.items():
        examples = tuple(_example(data, row, open_=shown + number < data.examples) for number, row in enumerate(rows))
        shown += len(rows)
        title = name or ("All prompts" if len(groups) == 1 else "Without category")
        winners = [example.winner for example in examples]
        wins, ties, losses = winners.count("tuned"), winners.count("tie"), winners.count("base")
        categories.append(Category(title, examples, wins, ties, losses, any(example.open for example in examples)))
    return categories


def biggest_changes(data: ReportData) -> tuple[Example | None, Example | None]:
    """The prompts that the tuned model won and lost by most; None if it won or lost none."""
    examples = [_example(data, row, open_=True) for row in data.evaluations]
    won = [example for example in examples if example.winner == "tuned"]
    lost = [example for example in examples if example.winner == "base"]
    return (
        max(won, key=lambda example: example.gain or 0.0, default=None),
        min(lost, key=lambda example: example.gain or 0.0, default=None),
    )


def _example(data: ReportData, row: Evaluation, *, open_: bool) -> Example:
    turns = tuple(as_messages(row.prompt))
    summary = " ".join(last_user_turn(row.prompt).split())
    base, tuned = (_headline_score(data, row.answers.get(model)) for model in MODELS)
    result = outcome(tuned, base)
    return Example(
        prompt_id=row.prompt_id,
        turns=turns,
        summary=summary,
        whole=len(turns) == 1 and summary == turns[0]["content"].strip(),
        reference=row.reference,
        sides=tuple(_side(data, model, row.answers[model]) for model in MODELS if model in row.answers),
        winner=_WINNERS[result],
        gain=tuned - base if result is not None and tuned is not None and base is not None else None,
        open=open_,
    )


def _side(data: ReportData, model: Model, answer: Answer) -> Side:
    others = [judge for judge in data.judges if judge in answer.scores and judge != data.headline_judge]
    return Side(
        model=model,
        text=answer.response,
        tokens=answer.tokens,
        cut_off=answer.finish_reason == "length",
        score=number(_headline_score(data, answer)),
        scores=tuple((name_of(judge), number(answer.scores[judge])) for judge in others),
    )


def _headline_score(data: ReportData, answer: Answer | None) -> float | None:
    return answer.scores.get(data.headline_judge) if answer and data.headline_judge else None
