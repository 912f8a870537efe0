"""Nested summaries as flat numbers."""

from components.scalars import scalars


def test_numbers_get_flat_names_with_the_prefix() -> None:
    assert scalars({"kl": 3, "base": {"bleu": 0.5}}, "eval") == {"eval_kl": 3.0, "eval_base_bleu": 0.5}


def test_what_a_metric_cannot_hold_is_left_out() -> None:
    summary = {"text": "a", "list": [1], "none": None, "infinite": float("inf"), "nan": float("nan"), "flag": True}
    assert scalars(summary, "x") == {"x_flag": 1.0}
