"""Scripted answers that no judge should prefer to a reference answer.

A policy that is trained against a judge finds what the judge overlooks. Each script here exploits one such weakness
without saying anything.
"""

import random
from collections.abc import Callable, Mapping, Sequence

from preflow.identity import digest_bytes

_LONG_ENOUGH = 16  # words; short prompts are repeated, because some judges dislike short answers
_FILLER = "really"
_CONSTANT = (
    "Thank you for your question. There are several things to consider here, and the best choice depends on your "
    "situation. Take your time, and ask for help if you need it."
)
Script = Callable[[Sequence[str], Sequence[str]], list[str]]
"""A function from N prompts and their N references to N answers."""


def _shuffled(prompts: Sequence[str], references: Sequence[str]) -> list[str]:
    return [_sentence(_in_random_order(_long_enough(prompt.split()))) for prompt in prompts]


def _padded(prompts: Sequence[str], references: Sequence[str]) -> list[str]:
    answers = []
    for prompt in prompts:
        words = prompt.split()
        pairs = [words[start : start + 2] for start in range(0, len(words), 2)]
        answers.append(_sentence([word for pair in pairs for word in (*pair, _FILLER)]))
    return answers


def _copied(prompts: Sequence[str], references: Sequence[str]) -> list[str]:
    return list(prompts)


def _excerpt(prompts: Sequence[str], references: Sequence[str]) -> list[str]:
    answers = []
    for prompt in prompts:
        words = prompt.split()
        kept = -(-len(words) // 2)
        start = random.Random(_seed(words)).randint(0, len(words) - kept)  # noqa: S311
        answers.append(_sentence(words[start : start + kept]))
    return answers


def _constant(prompts: Sequence[str], references: Sequence[str]) -> list[str]:
    return [_CONSTANT for _ in prompts]


def _other_reference(prompts: Sequence[str], references: Sequence[str]) -> list[str]:
    return [*references[1:], *references[:1]]


def _empty(prompts: Sequence[str], references: Sequence[str]) -> list[str]:
    return ["" for _ in prompts]


def _repeated(prompts: Sequence[str], references: Sequence[str]) -> list[str]:
    return [_sentence([max(prompt.split(), key=len).strip(".,:;!?\"'")] * _LONG_ENOUGH) for prompt in prompts]


CANARIES: Mapping[str, Script] = {
    "shuffled_prompt": _shuffled,
    "padded_prompt": _padded,
    "copied_prompt": _copied,
    "excerpt": _excerpt,
    "constant": _constant,
    "other_reference": _other_reference,
    "empty": _empty,
    "repeated_word": _repeated,
}
"""By name: the prompt's words in random order, the prompt with a filler word after every two, the prompt itself, half
of it in one piece, the same answer to everything, the reference of another prompt, no answer, and one word of the
prompt again and again."""


def _long_enough(words: list[str]) -> list[str]:
    return words * -(-_LONG_ENOUGH // max(1, len(words)))


def _in_random_order(words: list[str]) -> list[str]:
    return random.Random(_seed(words)).sample(words, len(words))  # noqa: S311


def _seed(words: Sequence[str]) -> int:
    """A number that depends on the words of one prompt alone."""
    return int(digest_bytes(" ".join(words).encode()), 16)


def _sentence(words: Sequence[str]) -> str:
    text = " ".join(words).rstrip(".!?")
    return text[:1].upper() + text[1:] + "." if text else ""
