"""Checked fields of foreign records: each function returns a value or raises an error about file, line and field."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from preflow.errors import PreflowError
from preflow.identity import as_messages
from preflow.rows import Message, PromptText

Record: TypeAlias = Mapping[str, Any]
_ROLES = {"role": ("system", "user", "assistant"), "author": ("user", "assistant")}


def wrong(where: str, field: str, problem: str) -> PreflowError:
    """Makes the error about one field."""
    return PreflowError(f"{where}: field '{field}': {problem}")


def required(record: Record, field: str, where: str) -> Any:
    """Returns the value of a required field."""
    if field not in record:
        raise wrong(where, field, f"is missing; the fields found are {', '.join(sorted(record)) or 'none'}")
    return record[field]


def text(record: Record, field: str, where: str) -> str:
    """Returns the value of a required field that must be a text that is not blank."""
    return nonblank(required(record, field, where), field, where)


def nonblank(value: Any, field: str, where: str) -> str:
    """Returns a value that must be a text that is not blank."""
    if not isinstance(value, str):
        raise wrong(where, field, f"must be a text, got {_kind(value)}")
    if not value.strip():
        raise wrong(where, field, "is empty; give a text or leave the row out")
    return value


def position(value: Any, count: int, field: str, where: str) -> int:
    """Returns a value that must be a whole number below `count`, and neither true, nor 1.0, nor a quoted 1."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        listed = "0 or 1" if count == 2 else f"a whole number from 0 to {count - 1}"
        raise wrong(where, field, f"must be {listed}, got {_kind(value)}")
    return value


def turns(value: Any, field: str, where: str, speaker: Literal["role", "author"] = "role") -> list[Message]:
    """Returns a list of turns as messages; other keys of foreign turns are left out.

    Args:
        value: Value of the field.
        field: Name of the field.
        where: Location of the record, for errors.
        speaker: Key of the speaker in a turn: `role` in TRL, `author` in Vertex.
    """
    if not isinstance(value, list) or not value:
        raise wrong(where, field, f"must be a list of turns with '{speaker}' and 'content', got {_kind(value)}")
    messages = []
    for number, turn in enumerate(value):
        place = f"{field}.{number}"
        if not isinstance(turn, dict):
            raise wrong(where, place, f"must be a turn with '{speaker}' and 'content', got {_kind(turn)}")
        for key in (speaker, "content"):
            if key not in turn:
                raise wrong(where, f"{place}.{key}", "is missing")
        if turn[speaker] not in _ROLES[speaker]:
            listed = ", ".join(_ROLES[speaker])
            raise wrong(where, f"{place}.{speaker}", f"must be one of {listed}, got {_kind(turn[speaker])}")
        content = nonblank(turn["content"], f"{place}.content", where)
        messages.append(Message(role=turn[speaker], content=content))
    return messages


def prompt_text(value: Any, field: str, where: str) -> PromptText:
    """Returns a prompt: a text, or turns of which the first (after any system turn) and the last are a user's."""
    if isinstance(value, str):
        return nonblank(value, field, where)
    if not isinstance(value, list):
        raise wrong(where, field, f"must be a text or a list of turns, got {_kind(value)}")
    messages = turns(value, field, where)
    check_prompt(messages, field, where)
    return messages


def check_prompt(prompt: PromptText, field: str, where: str) -> None:
    """Checks that no text of a prompt is blank and that the assistant is next to speak.

    Raises:
        PreflowError: A text is blank, the first or last turn is not a user's, or a later turn is a system turn.
    """
    messages = as_messages(prompt)
    if not messages:
        raise wrong(where, field, "has no turns; give at least one user turn")
    for number, message in enumerate(messages):
        nonblank(message["content"], field if isinstance(prompt, str) else f"{field}.{number}.content", where)
    spoken = messages[1:] if messages[0]["role"] == "system" else messages
    if not spoken or spoken[0]["role"] != "user" or spoken[-1]["role"] != "user":
        raise wrong(where, field, "the first and the last turn must be a user's (a system turn may come before)")
    if any(message["role"] == "system" for message in spoken):
        raise wrong(where, field, "only the first turn may be a system turn")


def vertex_prompt(record: Record, where: str) -> PromptText:
    """Returns the prompt of a Vertex record: `input_text` or `messages`, with `context` as the system turn."""
    if "input_text" in record and "messages" in record:
        raise wrong(where, "messages", "is given beside 'input_text'; give one of them")
    system: Sequence[Message] = ()
    if "context" in record:
        system = [Message(role="system", content=text(record, "context", where))]
    if "messages" in record:
        spoken = turns(record["messages"], "messages", where, speaker="author")
        check_prompt(spoken, "messages", where)
        return [*system, *spoken]
    prompt = text(record, "input_text", where)
    return [*system, Message(role="user", content=prompt)] if system else prompt


def _kind(value: Any) -> str:
    shown = repr(value)
    return f"{shown if len(shown) <= 40 else shown[:37] + '...'} ({type(value).__name__})"
