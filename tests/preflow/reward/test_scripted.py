"""Scripted pairs prefer a good answer to one that no judge should like, and stay few."""

from collections.abc import Callable

import pytest

from preflow.canaries import CANARIES
from preflow.reward.overlap import overlaps
from preflow.reward.scripted import SCRIPTS, scripted_pairs
from preflow.rows import Message, Preference

Pairs = Callable[..., list[Preference]]


def test_half_as_many_pairs_are_scripted_and_they_weigh_as_much_each(make_pairs: Pairs) -> None:
    pairs = [
        pair.model_copy(update={"weight": float(number % 2)}) for number, pair in enumerate(make_pairs(16, "train"))
    ]
    found = scripted_pairs(pairs, {}, seed=0)
    assert len(found) == 8
    assert {pair.weight for pair in found} == {0.5}
    assert found == scripted_pairs(pairs, {}, seed=0) != scripted_pairs(pairs, {}, seed=1)


def test_the_good_answer_is_the_reference_or_else_a_chosen_one(make_pairs: Pairs) -> None:
    pairs = make_pairs(40, "train")
    first = pairs[0].prompt_id
    found = scripted_pairs(pairs, {first: "It is a reference."}, seed=0)
    chosen = {pair.prompt_id: pair.chosen for pair in pairs} | {first: "It is a reference."}
    assert all(pair.chosen == chosen[pair.prompt_id] for pair in found)
    prompts, good = [str(pair.prompt) for pair in pairs], list(chosen.values())
    scripts = {name: CANARIES[name](prompts, good) for name in SCRIPTS}
    at = {pair.prompt_id: number for number, pair in enumerate(pairs)}
    assert all(any(pair.rejected == made[at[pair.prompt_id]] for made in scripts.values()) for pair in found)


def test_a_script_reads_the_last_user_turn_and_a_copy_is_never_the_good_answer(make_pairs: Pairs) -> None:
    turns = [Message(role="system", content="Be brief."), Message(role="user", content="Say dew.")]
    (pair,) = make_pairs(1, "train", prompt=turns, chosen="Say dew.")
    found = [one for seed in range(10) for one in scripted_pairs([pair], {}, seed)]
    assert {one.rejected.lower().split()[0].strip(".") for one in found} <= {"say", "dew"}
    assert all(one.rejected.strip() != "Say dew." and one.prompt == turns for one in found)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("How does rain fall on mountains?", (1.0, 1.0, 1.0)),
        ("rain rain", (1.0, 1.0, 1 / 3)),
        ("Rain falls as drops of water.", (2 / 4, 0.0, 2 / 3)),
        ("It condenses.", (0.0, 0.0, 0.0)),
        ("", (1.0, 1.0, 0.0)),
    ],
)
def test_overlaps_are_what_is_copied_and_what_of_the_prompt_is_used(
    response: str, expected: tuple[float, float, float]
) -> None:
    assert overlaps("How does rain fall on mountains?", response) == pytest.approx(expected)
