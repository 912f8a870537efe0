"""Judgements of every kind become comparisons within one prompt and one labeler."""

from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from preflow.feedback.votes import Comparison, comparisons
from preflow.rows import Feedback, JudgedResponse

IDS = count()


def feedback(kind: Any, texts: list[str], value: Any, **fields: Any) -> Feedback:
    made = {
        "feedback_id": f"f{next(IDS):06}",
        "prompt_id": "p",
        "prompt": "What is dew?",
        "labeler": "ann",
        "source": "human",
        "created_at": "2026-01-01T00:00:00Z",
        **fields,
    }
    return Feedback(kind=kind, responses=[JudgedResponse(text=text) for text in texts], value=value, **made)


def sides(found: list[Comparison]) -> list[tuple[str, str]]:
    return sorted((one.better, one.worse) for one in found)


def test_a_pairwise_judgement_is_one_comparison() -> None:
    (one,) = comparisons([feedback("pairwise", ["a", "b"], 1, feedback_id="f", source="user")])
    assert (one.better, one.worse, one.tie, one.group_id) == ("b", "a", False, "f")
    assert (one.labeler, one.source, one.feedback_ids) == ("ann", "user", ("f",))


def test_a_null_value_is_a_tie() -> None:
    (one,) = comparisons([feedback("pairwise", ["a", "b"], None)])
    assert one.tie


def test_a_ranking_gives_all_pairs_in_one_group_that_weighs_one() -> None:
    found = comparisons([feedback("ranking", ["a", "b", "c", "d"], [2, 0, 3, 1], feedback_id="r")])
    assert sides(found) == [("a", "b"), ("a", "d"), ("c", "a"), ("c", "b"), ("c", "d"), ("d", "b")]
    assert {one.group_id for one in found} == {"r"}


@given(st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_a_ranking_of_n_gives_half_n_times_n_minus_one_pairs(order: list[int]) -> None:
    found = comparisons([feedback("ranking", [str(number) for number in range(6)], order)])
    assert len(found) == 15
    assert all(order.index(int(one.better)) < order.index(int(one.worse)) for one in found)


def test_a_correction_beats_its_original() -> None:
    assert sides(comparisons([feedback("correction", ["teh"], "the")])) == [("the", "teh")]


def test_thumbs_up_beats_thumbs_down_of_the_same_labeler_and_prompt() -> None:
    rows = [feedback("thumbs", [text], value) for text, value in [("a", 1), ("b", -1), ("c", 1), ("d", -1)]]
    found = comparisons(rows)
    assert sides(found) == [("a", "b"), ("a", "d"), ("c", "b"), ("c", "d")]
    assert len({one.group_id for one in found}) == 1
    assert all(len(one.feedback_ids) == 2 for one in found)


def test_ratings_count_from_a_gap_of_one() -> None:
    rows = [feedback("rating", [text], value) for text, value in [("a", 5), ("b", 4.5), ("c", 4), ("d", 4)]]
    assert sides(comparisons(rows)) == [("a", "c"), ("a", "d")]


def test_judgements_of_two_labelers_prompts_or_kinds_are_not_compared() -> None:
    up = feedback("thumbs", ["a"], 1)
    others = [
        feedback("thumbs", ["b"], -1, labeler="bob"),
        feedback("thumbs", ["b"], -1, prompt_id="q"),
        feedback("rating", ["b"], 0),
    ]
    assert comparisons([up, *others]) == []


def test_the_later_of_two_judgements_of_one_answer_counts() -> None:
    rows = [
        feedback("rating", ["a"], 5, created_at="2026-01-01T12:00:00+02:00"),
        feedback("rating", ["a "], 1, created_at="2026-01-01T11:00:00Z"),
        feedback("rating", ["b"], 3),
    ]
    assert [(better.strip(), worse.strip()) for better, worse in sides(comparisons(rows))] == [("b", "a")]


@st.composite
def judgements(draw: st.DrawFn) -> list[Feedback]:
    texts = st.sampled_from(["a", "b", "c", "d"])
    rows = []
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["thumbs", "rating", "correction", "pairwise", "ranking"]))
        chosen = draw(st.permutations(["a", "b", "c", "d"]))
        given_texts = {"pairwise": chosen[:2], "ranking": chosen[:3]}.get(kind, chosen[:1])
        value = {
            "thumbs": st.sampled_from([-1, 1]),
            "rating": st.integers(1, 5),
            "correction": texts,
            "pairwise": st.sampled_from([0, 1, None]),
            "ranking": st.permutations([0, 1, 2]),
        }[kind]
        prompt = draw(st.sampled_from("pq"))
        rows.append(
            feedback(
                kind,
                [f"{prompt}{text}" for text in given_texts],
                f"{prompt}{draw(texts)}" if kind == "correction" else draw(value),
                feedback_id=f"f{number}",
                prompt_id=prompt,
                prompt=f"prompt {prompt}",
                labeler=draw(st.sampled_from(["ann", "bob"])),
                created_at=f"2026-01-0{draw(st.integers(1, 3))}T00:00:00Z",
            )
        )
    return rows


@given(judgements(), st.randoms())
@settings(max_examples=60, deadline=None)
def test_comparisons_do_not_depend_on_the_order_of_rows(rows: list[Feedback], random: Any) -> None:
    shuffled = rows[:]
    random.shuffle(shuffled)
    assert comparisons(shuffled) == comparisons(rows)


@given(judgements())
@settings(max_examples=60, deadline=None)
def test_both_sides_belong_to_the_prompt(rows: list[Feedback]) -> None:
    for one in comparisons(rows):
        assert {one.better[0], one.worse[0], one.prompt[-1]} == {one.prompt_id}
