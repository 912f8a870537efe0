"""TRL's preference forms: with an explicit prompt or one implied by both texts, as strings or as conversations.

Source: https://huggingface.co/docs/trl/dataset_formats
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from preflow.errors import PreflowError
from preflow.feedback.fields import Record, nonblank, prompt_text, required, turns, wrong
from preflow.identity import normalise
from preflow.rows import Message, PromptText


class Pair(NamedTuple):
    """A prompt with the better and the worse completion."""

    prompt: PromptText
    chosen: str
    rejected: str


def prompt_and_completions(record: Record, where: str) -> Pair | None:
    """Returns the pair in a TRL preference record, or None if both sides are identical.

    Raises:
        PreflowError: The fields do not form a pair.
    """
    chosen, rejected = required(record, "chosen", where), required(record, "rejected", where)
    if isinstance(chosen, list) and isinstance(rejected, list):
        return _from_turns(record, turns(chosen, "chosen", where), turns(rejected, "rejected", where), where)
    pair = nonblank(chosen, "chosen", where), nonblank(rejected, "rejected", where)
    if "prompt" in record:
        return _unless_identical(prompt_text(record["prompt"], "prompt", where), *pair)
    return _from_strings(*pair, where)


def _from_turns(record: Record, chosen: list[Message], rejected: list[Message], where: str) -> Pair | None:
    prompt = record.get("prompt")
    if prompt is not None and not (isinstance(prompt, str) and len(chosen) > 1):
        explicit = prompt_text(prompt, "prompt", where)
        return _unless_identical(explicit, _answer(chosen, "chosen", where), _answer(rejected, "rejected", where))
    # As in TRL, a string prompt beside whole conversations only repeats how they begin.
    if chosen == rejected:
        return None
    shared = _shared(chosen, rejected)
    if not shared:
        raise _nothing_shared(where)
    opening = prompt_text(chosen[:shared], "chosen", where)
    answers = _answer(chosen[shared:], "chosen", where), _answer(rejected[shared:], "rejected", where)
    return _unless_identical(opening, *answers)


def _from_strings(chosen: str, rejected: str, where: str) -> Pair | None:
    """Splits at the longest common prefix; as in TRL, a blank at the split belongs to the completions."""
    if normalise(chosen) == normalise(rejected):
        return None
    shared = _shared(chosen, rejected)
    if shared and chosen[shared - 1] == " ":
        shared -= 1
    if not chosen[:shared].strip():
        raise _nothing_shared(where)
    for field, whole in (("chosen", chosen), ("rejected", rejected)):
        if not whole[shared:].strip():
            raise wrong(where, field, "is a prefix of the other text, so it has no completion; add a field 'prompt'")
    return _unless_identical(chosen[:shared], chosen[shared:], rejected[shared:])


def _shared(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Length of the longest common prefix of two sequences."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))


def _answer(rest: list[Message], field: str, where: str) -> str:
    if len(rest) != 1 or rest[0]["role"] != "assistant":
        spoken = ", ".join(message["role"] for message in rest) or "nothing"
        raise wrong(where, field, f"one assistant turn must follow the prompt, got {spoken}")
    return rest[0]["content"]


def _unless_identical(prompt: PromptText, chosen: str, rejected: str) -> Pair | None:
    return None if normalise(chosen) == normalise(rejected) else Pair(prompt, chosen, rejected)


def _nothing_shared(where: str) -> PreflowError:
    return wrong(where, "chosen", "does not begin like 'rejected', so there is no prompt; add a field 'prompt'")
