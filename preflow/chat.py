"""Prompts as the token ids that a policy continues."""

from typing import Any

from preflow.errors import PreflowError
from preflow.identity import as_messages
from preflow.rows import PromptText


def encode_prompt(tokenizer: Any, prompt: PromptText) -> list[int]:
    """The token ids of a prompt, up to where the answer begins.

    With a chat template the turns go through it. Without one (a base model) the contents are joined by blank lines.
    """
    if tokenizer.chat_template:
        ids: list[int] = tokenizer.apply_chat_template(
            as_messages(prompt), add_generation_prompt=True, return_dict=False
        )
        return ids
    text = "\n\n".join(message["content"] for message in as_messages(prompt)) + "\n\n"
    plain: list[int] = tokenizer(text)["input_ids"]
    return plain


def last_user_turn(prompt: PromptText) -> str:
    """The text of a prompt's last user turn, or of its last turn if no turn is the user's; '' if there is no turn."""
    turns = as_messages(prompt)
    asked = [turn for turn in turns if turn["role"] == "user"] or turns
    return asked[-1]["content"] if asked else ""


def check_length(tokenizer: Any, prompt: PromptText, limit: int, where: str) -> int:
    """The number of tokens of a prompt.

    Raises:
        PreflowError: There are more than `limit`.
    """
    tokens = len(encode_prompt(tokenizer, prompt))
    if tokens > limit:
        raise PreflowError(
            f"{where}: field 'prompt': {tokens} tokens with its chat template, but `prompt_sequence_length` is "
            f"{limit}; shorten the prompt or raise `prompt_sequence_length`"
        )
    return tokens
