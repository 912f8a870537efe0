"""A prompt that asks the same in almost the same words is found, and one that asks something else is not."""

import math
import random
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflow.near_duplicates import near_duplicates
from preflow.rows import Message, PromptText

QUESTION = "Can you tell me how long a garden snail usually lives?"
OTHERS = [
    "What is the name of the longest bone in a human body?", "Tell me how to bake a loaf of rye bread at home.",
    "Which of my two job offers is the better one?", "Write a short poem about the sea in a storm.",
    "How long does it take to drive from Rome to Milan?", "Can you fix the grammar of a sentence for me?",
    "Why is the sky red in the evening and blue at noon?", "Give me three names for a small grey kitten.",
]  # fmt: skip


def is_found(prompt: PromptText, of: PromptText = QUESTION) -> bool:
    """Whether a prompt nearly repeats another, in a dataset that has different ones too."""
    others = {text: text for text in OTHERS}
    return near_duplicates({"new": prompt, **others}, {"known": of}) == {"new"}


@pytest.mark.parametrize(
    "prompt",
    [
        "can you tell me how long a garden snail usually lives",
        "  Can you tell me, how long a garden-snail\nusually lives ?! ",
        "\uff23an you tell me how long a garden snail usually lives?",
        [Message(role="system", content="Be brief."), Message(role="user", content=QUESTION)],
        "Please can you tell me how long a garden snail usually lives?",
        "How long a garden snail usually lives, can you tell me that?",
    ],
)
def test_another_spelling_of_a_question_is_found(prompt: PromptText) -> None:
    assert is_found(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "Can you tell me how long a garden hedge usually grows?",
        "How long does a snail live?",
        "Can you tell me how long a garden snail usually lives, where it sleeps, and what birds eat it?",
        [
            Message(role="user", content="Hi!"), Message(role="assistant", content="Yes?"),
            Message(role="user", content=QUESTION), Message(role="assistant", content="Three years."),
            Message(role="user", content="And which animals eat them most of all, birds or beetles?"),
        ],
    ],
)  # fmt: skip
def test_another_question_is_not_found(prompt: PromptText) -> None:
    assert not is_found(prompt)


def test_short_prompts_repeat_each_other_only_letter_by_letter() -> None:
    assert is_found("what is DEW", of="What is dew?")
    assert not is_found("Dew is what?", of="What is dew?")


def test_signs_between_digits_tell_prompts_apart() -> None:
    assert is_found("what is  5 + 3", of="What is 5 + 3?")
    assert not is_found("What is 5 - 3?", of="What is 5 + 3?")
    assert not is_found("What is 53?", of="What is 5 + 3?")


def test_prompts_without_letters_are_compared_as_they_are() -> None:
    assert near_duplicates({"a": "?!", "b": "..."}, {"c": "?!"}) == {"a"}


def test_a_template_that_all_prompts_share_does_not_make_them_the_same() -> None:
    template = "Read the review below and answer with one word, positive or negative, and nothing else at all: {}"
    texts = ["dull plot", "great cast", "poor sound", "fine songs", "weak ending", "lovely pictures", "too long"]
    prompts = {text: template.format(text) for text in texts}
    assert near_duplicates(prompts, prompts) == set()


def test_a_prompt_is_not_its_own_duplicate() -> None:
    assert near_duplicates({"a": QUESTION}, {"a": QUESTION}) == set()
    assert near_duplicates({"a": QUESTION}, {"a": QUESTION, "b": QUESTION.upper()}) == {"a"}


WORDS = [f"w{number}" for number in range(14)]


@given(st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_looking_up_the_rarest_words_loses_no_pair(choices: random.Random) -> None:
    def prompts(prefix: str) -> dict[str, str]:
        # Squared, so that some words are common and others rare.
        picks = [[WORDS[int(choices.random() ** 2 * 14)] for _ in range(choices.randint(3, 12))] for _ in range(12)]
        return {f"{prefix}{number}": " ".join(pick) for number, pick in enumerate(picks)}

    candidates, of = prompts("c"), prompts("o")
    assert near_duplicates(candidates, of) == by_comparing_all(candidates, of)


def by_comparing_all(candidates: Mapping[str, str], of: Mapping[str, str]) -> set[str]:
    """What the definition gives, by comparing each candidate with each prompt."""
    bags = {name: set(text.split()) for name, text in {**candidates, **of}.items()}
    weight = {
        word: math.log((len(bags) + 1) / count)
        for word in WORDS
        if (count := sum(word in bag for bag in bags.values()))
    }

    def near(one: str, other: str) -> bool:
        if candidates[one] == of[other]:
            return True
        left, right = bags[one], bags[other]
        shared, union = (sum(weight[word] for word in words) for words in (left & right, left | right))
        return min(len(left), len(right)) >= 5 and shared >= 0.8 * union - 1e-9

    return {one for one in candidates if any(near(one, other) for other in of)}
