"""Each metric gives the value worked out by hand, and stays between 0 and 1 whatever the text."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from preflow.scoring.length_fit import fit
from preflow.scoring.metric import Embed, ScoredText
from preflow.scoring.registry import METRICS
from preflow.scoring.repetition import distinct_share
from preflow.scoring.words import distinct_n, ngrams, sentences, words


def score(metric: str, embed: Embed, response: str, **fields: Any) -> tuple[float | None, str | None]:
    text = ScoredText(**{"prompt": "east", "response": response, "stopped": True, **fields})
    (found,) = METRICS[metric].score([text], embed)
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop, it’s Grüße-Zeit 42!", ["don't", "stop", "it’s", "grüße", "zeit", "42"]),
        ("The Cat's 2 Straße, привет!", ["the", "cat's", "2", "straße", "привет"]),
        ("...", []),
        ("", []),
        ("我喜欢猫。", ["我喜", "喜欢", "欢猫"]),
        ("好。Python3 で書く", ["好", "python3", "で書", "書く"]),
        ("น้ำดี", ["น้", "้ำ", "ำด", "ดี"]),
    ],
)
def test_words_are_lower_case_and_pairs_of_characters_where_no_spaces_are_written(
    text: str, expected: list[str]
) -> None:
    assert words(text) == expected


def test_sentences_end_at_marks_and_lines_and_have_two_words() -> None:
    text = "It is dew. Water! What else is it? Pi is 3.14 here\n- a list line\n\nEnd"
    assert sentences(text) == ["It is dew.", "What else is it?", "Pi is 3.14 here", "- a list line"]


def test_ngrams_are_all_runs_in_order() -> None:
    assert ngrams(["a", "b", "c", "d"], 3) == [("a", "b", "c"), ("b", "c", "d")]
    assert ngrams(["a", "b"], 3) == []


def test_distinct_n_counts_over_all_texts_together() -> None:
    texts = [["a", "b", "a"], ["a", "b"]]
    assert distinct_n(texts, 1) == 2 / 5  # a, b of five words
    assert distinct_n(texts, 2) == 2 / 3  # ab, ba of ab, ba, ab


def test_distinct_n_takes_token_ids() -> None:
    assert distinct_n([[1, 2, 3]], 2) == 1.0


def test_distinct_n_without_any_n_gram_is_none() -> None:
    assert distinct_n([["a"], []], 2) is None


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("easterly winds", math.tanh(1 / 0.4)),  # cosine 1 with and without the words of the prompt
        ("northeast winds", math.tanh(0.6 / 0.4)),
        ("north winds", 0.0),
        ("west winds", 0.0),
    ],
)
def test_relevance_is_made_of_cosines_and_never_negative(embed: Embed, response: str, expected: float) -> None:
    assert score("relevance", embed, response, prompt="Eastward ho!")[0] == pytest.approx(expected)


def test_relevance_counts_above_all_what_the_answer_adds(embed: Embed) -> None:
    # With its copied word the answer points east (cosine 1), without it north (cosine 0).
    assert score("relevance", embed, "East, that is by north", prompt="east")[0] == 0.0


def test_relevance_falls_with_what_is_copied(embed: Embed) -> None:
    # The stems are boat, sail and east: two of three are copied, the own share is (1 / 3) / (1 / 2) = 2/3.
    assert score("relevance", embed, "Boats sail east.", prompt="Sail east?")[0] == pytest.approx(
        math.tanh((2 / 3) ** 0.5 / 0.4)
    )
    assert score("relevance", embed, "East, sail!", prompt="Sail east?")[0] == 0.0


@pytest.mark.parametrize(
    ("response", "stopped", "expected"), [("Yes.", True, 1.0), ("Yes", False, 0.0), (" \n", True, 0.0)]
)
def test_ended_properly_takes_an_end_and_an_answer(embed: Embed, response: str, stopped: bool, expected: float) -> None:
    assert score("ended_properly", embed, response, stopped=stopped) == (expected, None)


@pytest.mark.parametrize(
    ("response", "expected"),
    [("a b c d", 1.0), ("a b a b a b", 0.5), ("no no no no no", 1 / 3), ("too short", 1.0), ("", 1.0)],
)
def test_repetition_is_the_share_of_distinct_runs(embed: Embed, response: str, expected: float) -> None:
    # "a b a b a b" has the runs aba bab aba bab: two of four are distinct.
    assert distinct_share(response) == pytest.approx(expected)
    assert score("repetition", embed, response)[0] == pytest.approx(expected)


def test_an_answer_may_copy_as_much_as_the_reference_of_its_prompt(embed: Embed) -> None:
    prompt, reference = "Shorten: the old cat sleeps by the stove", "The cat naps by the stove."  # copies two of three
    more = "The old cat naps by the stove."  # copies three of four
    assert score("own_words", embed, reference, prompt=prompt)[0] == pytest.approx(2 / 3)
    assert score("own_words", embed, reference, prompt=prompt, reference=reference)[0] == 1.0
    assert score("own_words", embed, more, prompt=prompt, reference=reference)[0] == pytest.approx(3 / 4)
    assert score("own_words", embed, prompt, prompt=prompt, reference=reference)[0] == 0.0
    assert score("own_words", embed, "The cat.", prompt=prompt, reference="The cat.")[0] == 1.0


def test_scripts_without_spaces_have_length_repetition_and_own_words(embed: Embed) -> None:
    assert score("length_fit", embed, "今天天气很好")[0] == pytest.approx(5 / 12)  # five pairs of characters
    assert score("repetition", embed, "哈哈哈哈哈哈哈")[0] == pytest.approx(
        1 / 4
    )  # six pairs, four equal runs of three
    assert score("own_words", embed, "我喜欢猫", prompt="你喜欢狗吗")[0] == 1.0  # one of three pairs is the prompt's
    assert score("own_words", embed, "我也喜欢狗吗", prompt="你喜欢狗吗")[0] == pytest.approx(2 * 2 / 5)
    for prompt in ("你喜欢狗吗", "犬が好きですか", "คุณชอบแมวไหม"):
        assert score("own_words", embed, prompt, prompt=prompt)[0] == 0.0
        assert score("relevance", embed, prompt, prompt=prompt)[0] == 0.0
        assert score("relevance", embed, prompt[2:], prompt=prompt)[0] == 0.0, "wherever the copy starts"
    assert sentences("今天天气很好。我们去公园。") == ["今天天气很好。", "我们去公园。"]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, 0.0), (3, 0.25), (6, 0.5), (12, 1.0), (80, 1.0), (160, 0.5), (240, 0.0), (500, 0.0)],
)
def test_length_fit_rises_to_12_words_and_falls_after_80(embed: Embed, count: int, expected: float) -> None:
    assert fit(count) == pytest.approx(expected)
    assert score("length_fit", embed, "word " * count)[0] == pytest.approx(expected)


def test_coherence_embeds_the_sentences_of_all_answers_at_once(embed: Embed) -> None:
    calls = []

    def counting(texts: Sequence[str]) -> NDArray[np.float32]:
        calls.append(list(texts))
        return embed(texts)

    responses = ["Go east. Go northeast.", "No.", "Go north. Go northeast. Go north."]
    found = METRICS["coherence"].score([ScoredText("p", response, True) for response in responses], counting)
    assert [one.value for one in found] == [pytest.approx(0.6), None, pytest.approx(0.8)]
    assert len(calls) == 1


def test_coherence_is_the_mean_cosine_of_neighbours(embed: Embed) -> None:
    # east-northeast 0.6, northeast-north 0.8, north-west 0 : mean 1.4 / 3
    response = "Winds go east. They turn northeast. Then comes north. At last west."
    assert score("coherence", embed, response)[0] == pytest.approx(1.4 / 3)
    assert score("coherence", embed, "Go east. Go west.")[0] == 0.0


@pytest.mark.parametrize("response", ["", "One sentence only.", "Yes. No."])
def test_coherence_needs_two_sentences(embed: Embed, response: str) -> None:
    assert score("coherence", embed, response) == (None, "fewer than two sentences")


def test_reference_similarity_is_null_only_where_there_is_no_reference(embed: Embed) -> None:
    texts = [
        ScoredText("p", "northeast", True, "east"),
        ScoredText("p", "northeast", True),
        ScoredText("p", "northeast", True, "north"),
        ScoredText("p", "west", True, "east"),
    ]
    found = METRICS["reference_similarity"].score(texts, embed)
    assert [one.value for one in found] == [pytest.approx(0.6), None, pytest.approx(0.8), 0.0]
    assert found[1].reason == "no reference"
    assert METRICS["reference_similarity"].score(texts[1:2], embed) == [(None, "no reference")]


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors out of letter counts, for texts that nobody chose."""
    counts = np.array([[text.count(letter) + 0.1 for letter in "aeiou"] for text in texts], dtype=np.float32)
    unit: NDArray[np.float32] = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    return unit


TEXT = st.text(st.sampled_from("aeiou .!?\n'x1ß\u0301"), max_size=60)


@pytest.mark.parametrize("metric", METRICS)
@given(texts=st.lists(st.builds(ScoredText, TEXT, TEXT, st.booleans(), st.none() | TEXT), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_every_metric_is_between_0_and_1_or_null_with_a_reason(metric: str, texts: list[ScoredText]) -> None:
    found = METRICS[metric].score(texts, letters)
    assert len(found) == len(texts)
    for one in found:
        assert (one.reason is not None) if one.value is None else (type(one.value) is float and 0 <= one.value <= 1)


@pytest.mark.parametrize("metric", METRICS)
@given(texts=st.lists(st.builds(ScoredText, TEXT, TEXT, st.booleans(), st.none() | TEXT), min_size=2, max_size=4))
@settings(max_examples=15, deadline=None)
def test_a_score_does_not_depend_on_the_answers_beside_it(metric: str, texts: list[ScoredText]) -> None:
    together = METRICS[metric].score(texts, letters)
    alone = [METRICS[metric].score([text], letters)[0] for text in texts]
    assert [one.value for one in together] == [
        None if one.value is None else pytest.approx(one.value, abs=1e-6) for one in alone
    ]
