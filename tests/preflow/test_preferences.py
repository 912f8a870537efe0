"""Scores and feedback become pairs: people overrule scores, votes add up, and every prompt is in one split."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preflow.errors import PreflowError
from preflow.feedback.importers import read_preferences
from preflow.identity import prompt_id, split_of
from preflow.preferences import build_preferences, check
from preflow.rows import (
    Feedback,
    JudgedResponse,
    Message,
    Preference,
    Prompt,
    PromptText,
    ScoredGeneration,
    read_rows,
    write_rows,
)

PREFERENCES = Path(__file__).parents[1] / "data" / "preferences.jsonl"


def question(split: str, number: int = 0) -> str:
    """The `number`th question whose own split is `split`."""
    found = (text for text in map("What is {}?".format, range(1000)) if split_of(prompt_id(text)) == split)
    return [next(found) for _ in range(number + 1)][-1]


TRAIN, VALIDATION, TEST = question("train"), question("validation"), question("validation", 9)


def scored(prompt: str, response: str, score: float, sample: int = 0) -> ScoredGeneration:
    return ScoredGeneration(
        generation_id=f"{prompt} {response} {sample}", prompt_id=prompt_id(prompt), prompt=prompt, sample=sample,
        response=response, model_name="m", model_digest="d", prompt_tokens=1, completion_tokens=1, generation_time=0.1,
        finish_reason="stop", sampling={}, scores={}, score_reasons={}, reward_score=score, scorer_digest="s",
    )  # fmt: skip


def feedback(kind: Any, prompt: str, texts: Sequence[str], value: Any, name: str, **fields: Any) -> Feedback:
    made = {"labeler": "ann", "source": "human", "created_at": "2026-01-01T00:00:00Z", **fields}
    return Feedback(
        feedback_id=name, kind=kind, prompt_id=prompt_id(prompt), prompt=prompt,
        responses=[JudgedResponse(text=text) for text in texts], value=value, **made,
    )  # fmt: skip


def pairwise(name: str, value: int | None, texts: Sequence[str] = ("a", "b"), **fields: Any) -> Feedback:
    return feedback("pairwise", fields.pop("prompt", TRAIN), texts, value, name, **fields)


# Every case also has a training and a validation pair, so that a case can be about a single prompt.
FILLER = [pairwise(split, 0, prompt=question(split, 5)) for split in ("train", "validation")]

Build = Callable[..., tuple[dict[str, Any], list[Preference]]]


def build_given(folder: Path, given: Sequence[Feedback]) -> dict[str, Any]:
    """Builds from a preference dataset alone."""
    write_rows(folder / "given", given)
    write_rows(folder / "eval", [Prompt(prompt_id=prompt_id(TEST), prompt=TEST, split="test")])
    return build_preferences(
        scored_generations=None,
        feedback=None,
        given_feedback=folder / "given",
        eval_prompts=folder / "eval",
        min_score_gap=0.05,
        output=folder / "out",
    )


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def build(
        labels: Sequence[ScoredGeneration] = (),
        judged: Sequence[Feedback] = (),
        given: Sequence[Feedback] = FILLER,
        eval_prompts: Sequence[PromptText] = (TEST,),
        gap: float = 0.05,
    ) -> tuple[dict[str, Any], list[Preference]]:
        write_rows(tmp_path / "labels", labels)
        write_rows(tmp_path / "judged", judged)
        write_rows(tmp_path / "given", given)
        write_rows(
            tmp_path / "eval", [Prompt(prompt_id=prompt_id(text), prompt=text, split="test") for text in eval_prompts]
        )
        summary = build_preferences(
            scored_generations=tmp_path / "labels",
            feedback=tmp_path / "judged",
            given_feedback=tmp_path / "given",
            eval_prompts=tmp_path / "eval",
            min_score_gap=gap,
            output=tmp_path / "out",
        )
        filler = {prompt_id(str(row.prompt)) for row in FILLER}
        return summary, [row for row in read_rows(tmp_path / "out", Preference) if row.prompt_id not in filler]

    return build


def sides(rows: Sequence[Preference]) -> list[tuple[str, str]]:
    return [(row.chosen, row.rejected) for row in rows]


def test_label_scores_that_differ_enough_make_pairs(build: Build) -> None:
    labels = [scored(TRAIN, "a", 0.35), scored(TRAIN, "b", 0.3), scored(TRAIN, "c", 0.28)]
    summary, pairs = build(labels)
    assert sides(pairs) == [("a", "b"), ("a", "c")]
    assert [row.score_gap for row in pairs] == [0.05, 0.07]
    assert {(row.source, row.weight, row.group_id) for row in pairs} == {("label", 1.0, prompt_id(TRAIN))}
    assert (summary["below_gap"], summary["by_source"]) == (1, {"human": 2, "label": 2})


def test_equal_scores_are_no_preference_even_without_a_gap(build: Build) -> None:
    summary, pairs = build([scored(TRAIN, "a", 0.3), scored(TRAIN, "b", 0.3)], gap=0.0)
    assert (pairs, summary["below_gap"]) == ([], 1)


def test_answers_to_different_prompts_are_not_compared(build: Build) -> None:
    assert build([scored(TRAIN, "a", 0.9), scored(VALIDATION, "b", 0.1)])[1] == []


def test_one_text_sampled_twice_is_one_answer_with_the_mean_score(build: Build) -> None:
    summary, pairs = build([scored(TRAIN, "a", 0.8), scored(TRAIN, " a", 0.2, 1), scored(TRAIN, "b", 0.3)])
    assert [(row.chosen.strip(), row.rejected, row.score_gap) for row in pairs] == [("a", "b", 0.2)]
    assert summary["identical_dropped"] == 1


def test_votes_of_labelers_add_up(build: Build) -> None:
    judged = [
        pairwise("f1", 0),
        pairwise("f2", 1, texts=("b", "a "), labeler="bob", source="user"),
        pairwise("f3", 1, labeler="cat"),
        pairwise("f4", None, labeler="dan"),
    ]
    _, (pair,) = build(judged=judged)
    assert (pair.chosen, pair.rejected) == ("a", "b")
    assert (pair.votes_for, pair.votes_against, pair.agreement) == (2.5, 1.5, 0.625)
    assert (pair.source, pair.feedback_ids) == ("human", ["f1", "f2", "f3", "f4"])
    assert pair.score_gap is None


def test_equal_votes_are_a_tie_and_dropped(build: Build) -> None:
    summary, pairs = build(judged=[pairwise("f1", 0), pairwise("f2", 1, labeler="bob")])
    assert (pairs, summary["ties_dropped"]) == ([], 1)


def test_the_latest_judgement_of_a_labeler_counts(build: Build) -> None:
    judged = [pairwise("f1", 0, created_at="2026-01-02T00:00:00Z"), pairwise("f2", 1)]
    _, (pair,) = build(judged=judged)
    assert (pair.chosen, pair.votes_for, pair.votes_against, pair.feedback_ids) == ("a", 1.0, 0.0, ["f1"])


def test_imported_rows_without_times_all_count(build: Build) -> None:
    judged = [pairwise(f"f{number}", value, labeler="external") for number, value in enumerate([0, 0, 1])]
    _, (pair,) = build(judged=judged)
    assert (pair.chosen, pair.votes_for, pair.votes_against) == ("a", 2.0, 1.0)


def test_people_overrule_the_label(build: Build) -> None:
    labels = [scored(TRAIN, "a", 0.9), scored(TRAIN, "b", 0.1), scored(TRAIN, "c", 0.5)]
    summary, pairs = build(labels, judged=[pairwise("f1", 1)])
    assert sides(pairs) == [("a", "c"), ("b", "a"), ("c", "b")]
    assert [row.source for row in pairs] == ["label", "human", "label"]
    assert summary["overruled_labels"] == 1


def test_a_tie_of_people_overrules_the_label_too(build: Build) -> None:
    summary, pairs = build([scored(TRAIN, "a", 0.9), scored(TRAIN, "b", 0.1)], judged=[pairwise("f1", None)])
    assert (pairs, summary["overruled_labels"], summary["ties_dropped"]) == ([], 1, 1)


def test_people_overrule_judging_models(build: Build) -> None:
    judged = [pairwise(f"f{number}", 0, labeler=f"judge-{number}", source="auto") for number in range(3)]
    _, (pair,) = build(judged=[*judged, pairwise("f9", 1)])
    assert (pair.chosen, pair.source, pair.feedback_ids) == ("b", "human", ["f9"])


def test_a_ranking_stays_one_group(build: Build) -> None:
    _, pairs = build(judged=[feedback("ranking", TRAIN, ["a", "b", "c"], [1, 2, 0], "r")])
    assert sides(pairs) == [("b", "a"), ("b", "c"), ("c", "a")]
    assert {row.group_id for row in pairs} == {"r"}


RATINGS = [feedback("rating", TRAIN, [text], 5 - number, f"g{number}") for number, text in enumerate("abcd")]


@pytest.mark.parametrize(
    ("labels", "judged"),
    [
        ([scored(TRAIN, text, number / 4) for number, text in enumerate("abcd")], []),
        ([], [feedback("ranking", TRAIN, list("abcd"), [0, 1, 2, 3], "r")]),
        ([], RATINGS),
        ([], [*RATINGS, feedback("ranking", TRAIN, list("abcd"), [0, 1, 2, 3], "r", labeler="bob")]),
    ],
)
def test_four_answers_judged_together_weigh_three_whoever_judged(
    build: Build, labels: list[ScoredGeneration], judged: list[Feedback]
) -> None:
    assert [row.weight for row in build(labels, judged=judged)[1]] == [pytest.approx(3 / 6)] * 6


def test_pairs_that_remain_share_the_weight_of_their_answers(build: Build) -> None:
    # b and c are too close: three answers weigh 2, which two pairs share.
    labels = [scored(TRAIN, "a", 0.9), scored(TRAIN, "b", 0.5), scored(TRAIN, "c", 0.49)]
    assert [row.weight for row in build(labels)[1]] == [1.0, 1.0]
    # d is too close to c and b and a: it is in no pair and weighs nothing.
    near = [scored(TRAIN, "a", 0.55), scored(TRAIN, "b", 0.5), scored(TRAIN, "d", 0.52)]
    assert [(row.chosen, row.rejected, row.weight) for row in build(near)[1]] == [("a", "b", 1.0)]
    # A person decides about a and b: label pairs a-c and b-c remain and share 2, the person's pair weighs 1.
    labels = [scored(TRAIN, "a", 0.9), scored(TRAIN, "b", 0.1), scored(TRAIN, "c", 0.5)]
    assert [row.weight for row in build(labels, judged=[pairwise("f1", 1)])[1]] == [1.0, 1.0, 1.0]


def test_a_pair_judged_in_several_groups_has_the_mean_of_its_shares(build: Build) -> None:
    # A ranking of four gives 3/6 a pair, a comparison of two gives 1.
    ranking = feedback("ranking", TRAIN, list("abcd"), [0, 1, 2, 3], "r")
    _, pairs = build(judged=[ranking, pairwise("f1", 0, labeler="bob")])
    assert {(row.chosen + row.rejected): row.weight for row in pairs}["ab"] == pytest.approx((3 / 6 + 1) / 2)
    assert sorted(row.weight for row in pairs)[:5] == [0.5] * 5


def test_comparisons_of_one_text_with_itself_are_dropped(build: Build) -> None:
    summary, pairs = build(judged=[feedback("correction", TRAIN, ["a"], "a ", "f")])
    assert (pairs, summary["identical_dropped"]) == ([], 1)


def test_a_judgement_in_both_sources_counts_once(build: Build) -> None:
    _, (pair,) = build(judged=[pairwise("f1", 0)], given=[*FILLER, pairwise("f1", 0)])
    assert (pair.votes_for, pair.feedback_ids) == (1.0, ["f1"])


def test_the_split_follows_from_the_prompt_unless_it_is_an_evaluation_prompt(build: Build) -> None:
    judged = [
        pairwise(name, 0, prompt=text)
        for name, text in [("f1", TRAIN), ("f2", VALIDATION), ("f3", TEST), ("f4", question("train", 1))]
    ]
    summary, pairs = build(judged=judged, eval_prompts=[TEST, question("train", 1)])
    expected = {TRAIN: "train", VALIDATION: "validation", TEST: "test", question("train", 1): "test"}
    assert {row.prompt: row.split for row in pairs} == expected
    assert summary["by_split"] == {"train": 2, "validation": 2, "test": 2}


def test_nothing_is_trained_on_a_prompt_that_nearly_repeats_an_evaluation_prompt(build: Build) -> None:
    said: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TRAIN.upper()}]
    labels = [scored(TRAIN, "a", 0.9), scored(TRAIN, "b", 0.1)]
    given = [*FILLER, pairwise("f1", 0, prompt=f"{TRAIN} ?")]
    judged = [pairwise("f2", 0, prompt=TRAIN.replace(" ", "  "))]
    summary, pairs = build(labels, judged=judged, given=given, eval_prompts=[said])
    assert {row.split for row in pairs if row.prompt in (TRAIN, f"{TRAIN} ?", TRAIN.replace(" ", "  "))} == {"test"}
    assert summary["by_split"] == {"train": 1, "validation": 1, "test": 3}
    assert summary["near_duplicates"] == 3


def test_a_validation_prompt_that_nearly_repeats_a_train_prompt_is_trained_on(build: Build) -> None:
    spelled = (text for text in map("WHAT IS {}?".format, range(1000)) if split_of(prompt_id(text)) == "validation")
    other = next(text for text in spelled if split_of(prompt_id(text.capitalize())) == "train")
    judged = [pairwise("f1", 0, prompt=other), pairwise("f2", 0, prompt=other.capitalize())]
    summary, pairs = build(judged=judged)
    assert [row.split for row in pairs if row.prompt in (other, other.capitalize())] == ["train", "train"]
    assert summary["near_duplicates"] == 1


def test_the_share_of_longer_choices_leaves_equal_lengths_out(build: Build) -> None:
    judged = [
        pairwise("f1", 0, texts=("two words", "one")),
        pairwise("f2", 1, texts=("two more", "uno")),
        pairwise("f3", 0, texts=("two  again", "eins")),
        pairwise("f4", 0, texts=("don't - stop", "two words")),  # two words each: punctuation does not count
    ]
    assert build(judged=judged)[0]["longer_chosen_share"] == pytest.approx(2 / 3)
    assert build()[0]["longer_chosen_share"] is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"given": FILLER[1:]},
            r"no preference pair to train on \(pairs: 1, .* lower `min_score_gap`, raise `num_prompts`",
        ),
        ({"given": FILLER[:1]}, "no preference pair to validate with"),
        ({"given": []}, r"no preference pair to train on \(pairs: 0"),
        ({"gap": -0.1}, "^`min_score_gap`: -0.1 given; it must be 0 or more"),
        ({"gap": float("nan")}, "^`min_score_gap`: nan given; it must be 0 or more"),
    ],
)
def test_too_little_to_learn_from_is_an_error_that_says_what_to_change(
    build: Build, tmp_path: Path, given: dict[str, Any], expected: str
) -> None:
    with pytest.raises(PreflowError, match=expected):
        build(**given)
    assert not (tmp_path / "out").exists()


def test_check_reads_min_score_gap_among_other_arguments() -> None:
    check({"min_score_gap": 0.0, "num_prompts": 3})
    with pytest.raises(PreflowError, match="^`min_score_gap`: -1.0 given; it must be 0 or more$"):
        check({"min_score_gap": -1.0})


def test_sources_are_optional(tmp_path: Path) -> None:
    summary = build_given(tmp_path, FILLER)
    assert summary["by_split"] == {"train": 1, "validation": 1, "test": 0}


PROMPTS = st.sampled_from([TRAIN, VALIDATION, TEST, question("train", 1)])
ANSWERS = st.sampled_from(["a", "b", "b ", "c"])


@st.composite
def judgements(draw: st.DrawFn) -> list[Feedback]:
    rows = []
    for number in range(draw(st.integers(0, 15))):
        kind = draw(st.sampled_from(["pairwise", "ranking", "rating", "correction"]))
        prompt = draw(PROMPTS)
        texts = [f"{prompt} {text}" for text in draw(st.permutations(["a", "b", "b ", "c"]))]
        count = {"pairwise": 2, "ranking": 3}.get(kind, 1)
        value = {
            "pairwise": st.sampled_from([0, 1, None]),
            "ranking": st.permutations([0, 1, 2]),
            "rating": st.integers(1, 5),
            "correction": ANSWERS.map(lambda text, prompt=prompt: f"{prompt} {text}"),  # type: ignore[misc]
        }[kind]
        fields = {
            "labeler": draw(st.sampled_from(["ann", "bob", "cat"])),
            "source": draw(st.sampled_from(["human", "user", "auto"])),
            "created_at": f"2026-01-0{draw(st.integers(1, 2))}T00:00:00Z",
        }
        rows.append(feedback(kind, prompt, texts[:count], draw(value), f"f{number}", **fields))
    return rows


@st.composite
def generations(draw: st.DrawFn) -> list[ScoredGeneration]:
    return [
        scored(prompt, f"{prompt} {draw(ANSWERS)}", draw(st.sampled_from([0.1, 0.3, 0.35, 0.7])), sample)
        for sample, prompt in enumerate(draw(st.lists(PROMPTS, max_size=8)))
    ]


@given(judgements(), generations(), st.randoms())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_input_in_any_order_gives_the_same_sound_pairs(
    build: Build, judged: list[Feedback], labels: list[ScoredGeneration], random: Any
) -> None:
    summary, pairs = build(labels, judged=judged)
    random.shuffle(judged)
    random.shuffle(labels)
    half = len(judged) // 2
    assert build(labels, judged=judged[half:], given=[*judged[:half], *FILLER]) == (summary, pairs)
    splits: dict[str, set[str]] = {}
    for pair in pairs:
        assert pair.chosen.startswith(str(pair.prompt))
        assert pair.rejected.startswith(str(pair.prompt))
        assert pair.chosen.strip() != pair.rejected.strip()
        assert pair.votes_for > pair.votes_against or pair.source == "label"
        splits.setdefault(pair.prompt_id, set()).add(pair.split)
    assert all(len(found) == 1 for found in splits.values())
    unordered = {(pair.prompt_id, *sorted((pair.chosen.strip(), pair.rejected.strip()))) for pair in pairs}
    assert len(unordered) == len(pairs)


def test_a_whole_file_makes_pairs_to_train_on_and_to_validate_with_and_prefers_the_longer_answer(
    tmp_path: Path,
) -> None:
    summary = build_given(tmp_path, [row for _, row in read_preferences(str(PREFERENCES)).rows])
    # 60 rows; the last two judge one pair both ways.
    assert (summary["pairs"], summary["ties_dropped"]) == (58, 1)
    assert summary["by_split"] == {"train": 34, "validation": 24, "test": 0}
    assert summary["longer_chosen_share"] == pytest.approx(41 / 54)
