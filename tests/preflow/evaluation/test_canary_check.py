"""Judges that prefer scripted answers are found out."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from preflow.canaries import CANARIES
from preflow.evaluation.canary_check import PROMPTS, canary_check, canary_wins, may_lead, packaged_prompts, scripted
from preflow.rows import Reply
from preflow.scoring.words import words


def panel(**judges: Any) -> Any:
    """A panel of functions from one reply to a score."""

    def scores(replies: Sequence[Reply]) -> dict[str, list[float | None]]:
        return {name: [judge(row) for row in replies] for name, judge in judges.items()}

    return SimpleNamespace(scores=scores, metric_scores=scores)


OWN = {row.prompt_id: row.reference for row in packaged_prompts()}


def is_reference(row: Reply) -> float:
    return float(row.response == OWN[row.prompt_id])


def test_the_prompts_are_packaged_ones_that_no_default_run_trains_on() -> None:
    prompts = packaged_prompts()
    assert len(prompts) == PROMPTS
    assert all(row.split != "train" and row.reference for row in prompts)


def test_a_judge_that_knows_the_reference_prefers_no_canary() -> None:
    shares = canary_check(panel(good=is_reference))["good"]
    assert shares == dict.fromkeys(CANARIES, 0.0)
    assert may_lead(shares)


def test_a_judge_that_likes_the_prompts_words_is_found_out() -> None:
    def parrot(row: Reply) -> float:
        return float(len(set(words(row.response)) & set(words(str(row.prompt)))))

    shares = canary_check(panel(parrot=parrot))["parrot"]
    assert shares["copied_prompt"] > 0.9
    assert shares["shuffled_prompt"] > 0.9
    assert not may_lead(shares)


@pytest.mark.parametrize("score", [1.0, None])
def test_a_judge_that_tells_nothing_apart_or_says_nothing_has_one_half(score: float | None) -> None:
    shares = canary_check(panel(mute=lambda row: score))["mute"]
    assert shares == dict.fromkeys(CANARIES, 0.5)
    assert not may_lead(shares)


def test_five_of_a_hundred_are_the_limit_and_unchecked_judges_do_not_lead() -> None:
    assert may_lead({"a": 0.05, "b": 0.0})
    assert not may_lead({"a": 0.06, "b": 0.0})
    assert not may_lead({})


def test_a_judge_that_compares_with_the_reference_is_not_shown_it() -> None:
    def similarity(row: Reply) -> float | None:
        return None if row.reference is None else float(row.response == row.reference)

    assert not may_lead(canary_check(panel(similarity=similarity))["similarity"])


def test_wins_over_the_base_count_ties_as_halves() -> None:
    base = [scripted(row, "") for row in packaged_prompts()[:4]]
    wins = canary_wins(panel(length=lambda row: float(len(row.response))), base, {"length": [0.0] * 4})
    assert wins["length"]["empty"] == 0.5
    assert wins["length"]["constant"] == 1.0
