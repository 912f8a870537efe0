import pytest

from preflow.evaluation.text_metrics import bleu, rouge_l


def test_rouge_l_by_hand() -> None:
    # Longest common subsequence "the cat sat": precision 3/4, recall 3/6, F1 0.6.
    assert rouge_l(["the cat sat down"], ["the big cat sat there today"]) == pytest.approx(0.6)


def test_rouge_l_is_the_mean_over_rows_with_a_reference() -> None:
    assert rouge_l(["same words", "other", "x"], ["same words", "nothing alike", None]) == pytest.approx(0.5)


def test_rouge_l_takes_a_contraction_for_one_word() -> None:
    # "it's" against "it s": no word in common.
    assert rouge_l(["it's"], ["it s"]) == 0.0


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
