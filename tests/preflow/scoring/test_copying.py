"""What an answer copies is counted by stems, each once."""

import pytest

from preflow.scoring.copying import added, content_stems, copied_share, own_share

PROMPT = "How do I organise my cat's photos?"


def test_stems_are_content_words_without_their_endings() -> None:
    assert content_stems(PROMPT) == {"organ", "cat", "photo"}
    assert content_stems("Boxes, buses and cats pass.") == {"box", "bus", "cat", "pass"}
    assert content_stems("it is") == set()


@pytest.mark.parametrize(
    ("answer", "copied", "own"),
    [
        (PROMPT, 1.0, 0.0),
        ("photos my cat organise how", 1.0, 0.0),
        ("Organising photo, organisation photo, cats!", 1.0, 0.0),
        ("organise really cat really photos really", 3 / 4, 1 / 2),  # a filler counts once, however often it comes
        ("organise photos by year or place", 1 / 2, 1.0),
        ("Sort them by year.", 0.0, 1.0),
        ("", 1.0, 0.0),
        ("it is what it is", 1.0, 0.0),
    ],
)
def test_order_endings_and_repetition_hide_no_copy(answer: str, copied: float, own: float) -> None:
    assert copied_share(PROMPT, answer) == pytest.approx(copied)
    assert own_share(PROMPT, answer) == pytest.approx(own)


def test_what_an_answer_adds_has_no_word_of_the_prompt() -> None:
    assert added(PROMPT, "I organised the photos; my cat helped.") == "the ; helped."
    assert added("你喜欢狗吗", "我也喜欢狗吗") == "我也"
    assert added(PROMPT, "") == ""
