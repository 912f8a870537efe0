"""Metrics that rest on counts of English words: values by hand, and what they make of other languages."""

import math

import pytest

from preflow.scoring.english import is_english, pair_counts, word_counts
from preflow.scoring.fluency import association, fluency
from preflow.scoring.metric import Embed, ScoredText
from preflow.scoring.registry import METRICS
from preflow.scoring.word_order import OrderModel, reference_model

FLUENT = "Blot the stain with cold water first. Then wash the shirt at a low temperature."
SHUFFLED = "Cold the then blot first a stain. The water with shirt wash at temperature low."


def test_the_counts_are_the_packaged_ones() -> None:
    assert word_counts()["the"] == 23135851162
    assert pair_counts()["abcs", "of"] == min(pair_counts().values()) + 4556800 == 10956800


def test_association_is_the_log_ratio_of_the_pairs_count_and_that_of_chance() -> None:
    words = word_counts()
    expected = math.log(pair_counts()["such", "situations"] * 1_024_908_267_229 / words["such"] / words["situations"])
    assert association("such", "situations") == pytest.approx(min(3.0, expected))
    chance = words["the"] * words["of"] / 1_024_908_267_229
    assert association("the", "of") == pytest.approx(math.log(pair_counts().get(("the", "of"), 6_400_000) / chance))
    assert association("cat", "trombone") == 0.0, "a rare pair says nothing"
    assert association("xqzt", "the") == 0.0


def test_fluency_is_the_mean_association_of_neighbours_in_a_clause(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {("a", "b"): 2.0, ("b", "c"): 0.5, ("c", "d"): -2.0}
    monkeypatch.setattr("preflow.scoring.fluency.association", lambda left, right: values[left, right])
    assert fluency("A b c") == pytest.approx(1.25 - 0.5)
    assert fluency("A b, b c. D") == pytest.approx(1.25 - 0.5), "words of two clauses are no neighbours"
    assert fluency("c d") == 0.0
    assert [fluency(text) for text in ("", "a", "...")] == [0.0] * 3


def test_a_sentence_is_more_fluent_than_its_shuffled_words_and_than_a_list() -> None:
    assert fluency(FLUENT) > 0.8
    assert fluency(SHUFFLED) < 0.5
    assert fluency("boxes friend help easier moving cardboard tape van") < 0.3


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("How do I get red wine out of a white cotton shirt?", True),
        ("Is HTML a programming language?", True),
        ("What is 12 x 14?", True),
        ("Wie bekomme ich Rotwein aus einem weißen Hemd?", False),
        ("Quelle est la capitale de la France?", False),
        ("你喜欢狗吗", False),
        ("", False),
    ],
)
def test_the_dictionary_tells_english_from_other_languages(text: str, english: bool) -> None:
    assert is_english(text) is english


def test_the_prompts_language_decides_whether_english_counts_apply(embed: Embed) -> None:
    german = [ScoredText("Wie heißt die Hauptstadt von Frankreich?", text, True) for text in ("Paris.", FLUENT, "")]
    assert [one.value for one in METRICS["fluency"].score(german, embed)] == [0.5] * 3
    assert METRICS["word_order"].score(german, embed) == [(None, "the prompt is not in English")] * 3
    english = [ScoredText("Who can help me?", text, True) for text in (FLUENT, SHUFFLED, "")]
    for metric in ("fluency", "word_order"):
        fluent, shuffled, empty = (one.value or 0.0 for one in METRICS[metric].score(english, embed))
        assert fluent > shuffled > empty == 0.0


def test_the_order_model_compares_a_word_in_context_with_the_word_alone() -> None:
    # Tokens a, b and the end, each once: 3 tokens, 4 kinds with the unseen one. Alone: (1 + 1/2) / (3 + 4/2) = 0.3.
    # Every history was seen once (trust 1/5) and followed by the right token: .2 + .8 * .3 = .44, .2 + .8 * .44 = .552.
    model = OrderModel(["a b"])
    assert model.order("a b") == pytest.approx(1 / (1 + 0.3 / 0.552))
    # "b" first: after a start comes a, so .8 * .3 = .24, then .8 * .24 = .192. End after b: .2 + .8 * .3 = .44; start
    # and b were never neighbours. The mean of log(.192 / .3) and log(.44 / .3).
    gain = (math.log(0.192 / 0.3) + math.log(0.44 / 0.3)) / 2
    assert model.order("b") == pytest.approx(1 / (1 + math.exp(-gain)))
    assert model.order("") == 0.0


def test_repeating_a_word_is_bad_order() -> None:
    model = reference_model()
    assert model.order("Water water water water water water.") < 0.35 < model.order(FLUENT)
