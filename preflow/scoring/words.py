"""Words, sentences and n-grams, as the metrics count them."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text that have at least two words."""
    return [part.strip() for part in _SENTENCE_END.split(text) if len(words(part)) >= 2]


def ngrams(items: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of `n` items, in order; none when there are fewer items."""
    return [tuple(items[start : start + n]) for start in range(len(items) - n + 1)]
