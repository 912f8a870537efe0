"""Prompts reach the policy with its own chat template, or joined by blank lines where it has none."""

from typing import Any

import pytest

from preflow.chat import check_length, encode_prompt, last_user_turn
from preflow.errors import PreflowError
from preflow.rows import Message

TURNS = [Message(role="system", content="Rhyme."), Message(role="user", content="Hi")]


class Tokenizer:
    """Takes every character for a token."""

    def __init__(self, chat_template: str | None) -> None:
        self.chat_template = chat_template

    def apply_chat_template(self, messages: list[Message], **settings: Any) -> list[int]:
        assert settings == {"add_generation_prompt": True, "return_dict": False}
        text = "".join(f"<{message['role']}>{message['content']}" for message in messages) + "<assistant>"
        return [ord(character) for character in text]

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(character) for character in text]}


def decoded(tokens: list[int]) -> str:
    return "".join(map(chr, tokens))


def test_a_chat_template_gets_the_turns_and_opens_the_answer() -> None:
    tokenizer = Tokenizer("template")
    assert decoded(encode_prompt(tokenizer, TURNS)) == "<system>Rhyme.<user>Hi<assistant>"
    assert decoded(encode_prompt(tokenizer, "Hi")) == "<user>Hi<assistant>"


def test_without_a_template_turns_are_joined_by_blank_lines() -> None:
    assert decoded(encode_prompt(Tokenizer(None), TURNS)) == "Rhyme.\n\nHi\n\n"


def test_the_last_user_turn_is_what_an_answer_answers() -> None:
    assert last_user_turn("Hi") == "Hi"
    later = [*TURNS, Message(role="assistant", content="My"), Message(role="user", content="Why?")]
    assert last_user_turn(later) == "Why?"
    assert last_user_turn([Message(role="system", content="Rhyme.")]) == "Rhyme."
    assert last_user_turn([]) == ""


def test_a_prompt_is_measured_with_its_template() -> None:
    length = len("<user>Hi<assistant>")
    assert check_length(Tokenizer("template"), "Hi", length, "f, line 1") == length
    with pytest.raises(PreflowError, match=f"^f, line 1: field 'prompt': {length} tokens .* is {length - 1}; shorten"):
        check_length(Tokenizer("template"), "Hi", length - 1, "f, line 1")
