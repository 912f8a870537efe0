"""Do judges prefer scripted answers to good ones? Then a policy that wins by them may have learned the script."""

from collections.abc import Mapping, Sequence
from functools import cache

import preflow.data  # noqa: F401 (the packaged prompts belong to this module's code: another set is another check)
from preflow.canaries import CANARIES
from preflow.chat import last_user_turn
from preflow.evaluation.judging import Panel, Scores
from preflow.evaluation.names import CANARY_LIMIT
from preflow.evaluation.win_rates import outcome
from preflow.identity import prompt_id, split_of
from preflow.rows import Prompt, Reply, read_records

PROMPTS = 100
_WON_AGAINST = 32  # answers of the base: what is shown only may cost little


def canary_check(panel: Panel) -> dict[str, dict[str, float]]:
    """By judge and canary, the share of `PROMPTS` packaged prompts on which the judge prefers it to the reference.

    A tie, or a missing score, counts one half: a judge that cannot tell them apart is no judge. No judge is shown the
    reference, which one that compares answers with it would merely recognise. The prompts are not among those that a
    run on the packaged prompts trains on.
    """
    prompts = packaged_prompts()
    good = [scripted(row, row.reference or "") for row in prompts]
    canaries = [reply for name in CANARIES for reply in canary_replies(name, prompts)]
    scores = panel.scores([_unseen(row) for row in [*good, *canaries]])
    return {judge: _shares(column[len(good) :], column[: len(good)]) for judge, column in scores.items()}


def canary_wins(panel: Panel, base: Sequence[Reply], scores: Scores) -> dict[str, dict[str, float]]:
    """By judge and canary, the share of the first prompts on which the judge prefers it to the base's answer.

    Args:
        panel: The judges; the reward model is not asked.
        base: The base model's answers.
        scores: Their scores.
    """
    base = base[:_WON_AGAINST]
    found = panel.metric_scores([reply for name in CANARIES for reply in canary_replies(name, base)])
    return {judge: _shares(column, scores[judge][: len(base)]) for judge, column in found.items()}


def canary_replies(name: str, prompts: Sequence[Prompt]) -> list[Reply]:
    """The scripted answers to prompts; a prompt without a reference borrows one of a packaged prompt."""
    packaged = [row.reference or "" for row in packaged_prompts()]
    references = [row.reference or packaged[number % len(packaged)] for number, row in enumerate(prompts)]
    answers = CANARIES[name]([last_user_turn(row.prompt) for row in prompts], references)
    return [scripted(row, answer) for row, answer in zip(prompts, answers, strict=True)]


def may_lead(shares: Mapping[str, float]) -> bool:
    """Whether a judge prefers no canary to the reference too often; nothing is known of one that was not checked."""
    return bool(shares) and all(share <= CANARY_LIMIT for share in shares.values())


def scripted(prompt: Prompt, text: str) -> Reply:
    """A text as an answer that ended."""
    given = prompt.model_dump(include=set(Prompt.model_fields))
    return Reply(**given, temperature=0.0, response=text, tokens=len(text.split()), finish_reason="stop")


@cache
def packaged_prompts() -> tuple[Prompt, ...]:
    """The first packaged prompts outside the train split that have a reference, in the order of their ids."""
    records = {prompt_id(record["prompt"]): record for _, record in read_records("packaged:prompts")}
    rows = [Prompt(prompt_id=name, split=split_of(name), **record) for name, record in sorted(records.items())]
    return tuple([row for row in rows if row.split != "train" and row.reference][:PROMPTS])


def _unseen(reply: Reply) -> Reply:
    return reply.model_copy(update={"reference": None})


def _shares(canaries: Sequence[float | None], others: Sequence[float | None]) -> dict[str, float]:
    """By canary, the share of its answers that score higher; `canaries` holds as many scores of each as `others`."""
    starts = {name: number * len(others) for number, name in enumerate(CANARIES)}
    return {name: _share(canaries[start : start + len(others)], others) for name, start in starts.items()}


def _share(canary: Sequence[float | None], other: Sequence[float | None]) -> float:
    """The share of answers that score higher than the other one; a tie and a missing score are halves."""
    outcomes = [outcome(one, two) for one, two in zip(canary, other, strict=True)]
    return sum(0.5 if won is None else won for won in outcomes) / len(outcomes)
