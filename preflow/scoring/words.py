"""Words, sentences and n-grams, as every metric and report counts them."""

import re
from collections.abc import Hashable, Sequence
from typing import TypeVar

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
ItemT = TypeVar("ItemT", bound=Hashable)


def words(text: str) -> list[str]:
    """The words of a text of any script, in lower case and without punctuation; "don't" is one word."""
    return _WORD.findall(text.lower())


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text that have at least two words."""
    return [part.strip() for part in _SENTENCE_END.split(text) if len(words(part)) >= 2]


def ngrams(items: Sequence[ItemT], n: int) -> list[tuple[ItemT, ...]]:
    """All runs of `n` neighbouring items, in order."""
    return [tuple(items[start : start + n]) for start in range(len(items) - n + 1)]


def distinct_n(texts: Sequence[Sequence[Hashable]], n: int) -> float | None:
    """Distinct n-grams divided by all n-grams, over all texts together (Li et al. 2016, arXiv:1510.03055).

    It falls as texts get longer: compare models only on the same prompts, with their lengths in mind.

    Args:
        texts: Words or token ids of each text.
        n: Length of an n-gram.

    Returns:
        A share in (0, 1], or None when no text has `n` words.
    """
    grams = [gram for text in texts for gram in ngrams(text, n)]
    return len(set(grams)) / len(grams) if grams else None
