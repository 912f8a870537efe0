import pytest

from preflow.evaluation.text_metrics import bleu, distinct_n, rouge_l, words


def test_words_are_lower_case_and_of_any_script() -> None:
    assert words("The Cat's 2 Straße, привет!") == ["the", "cat", "s", "2", "straße", "привет"]


def test_distinct_n_counts_over_all_texts_together() -> None:
    texts = [["a", "b", "a"], ["a", "b"]]
    assert distinct_n(texts, 1) == 2 / 5  # a, b of five words
    assert distinct_n(texts, 2) == 2 / 3  # ab, ba of ab, ba, ab


def test_distinct_n_takes_token_ids() -> None:
    assert distinct_n([[1, 2, 3]], 2) == 1.0


def test_distinct_n_without_any_n_gram_is_none() -> None:
    assert distinct_n([["a"], []], 2) is None


def test_rouge_l_by_hand() -> None:
    # Longest common subsequence "the cat sat": precision 3/4, recall 3/6, F1 0.6.
    assert rouge_l(["the cat sat down"], ["the big cat sat there today"]) == pytest.approx(0.6)


def test_rouge_l_is_the_mean_over_rows_with_a_reference() -> None:
    assert rouge_l(["same words", "other", "x"], ["same words", "nothing alike", None]) == pytest.approx(0.5)


def test_rouge_l_reads_other_scripts() -> None:
    assert rouge_l(["привет мир"], ["привет мир"]) == pytest.approx(1.0)


def test_bleu_of_equal_texts_is_100() -> None:
    assert bleu(["the cat sat on the mat", "left out"], ["the cat sat on the mat", None]) == pytest.approx(100.0)


def test_without_references_there_is_no_rouge_and_no_bleu() -> None:
    assert rouge_l(["a"], [None]) is None
    assert bleu(["a", "b"], [None, "  "]) is None


def test_an_empty_answer_scores_zero() -> None:
    assert rouge_l([""], ["a reference"]) == 0.0
    assert bleu([""], ["a reference"]) == 0.0
