"""Words, sentences and n-grams, as every metric and report counts them."""

import re
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple, TypeVar

# Scripts that are written without spaces between words: Thai, Lao, Myanmar, Khmer, Japanese kana and Han characters.
_UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u1049\u1780-\u17d3々\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_SPACED = rf"(?:(?![{_UNSPACED}])\w)+"
_WORD = re.compile(rf"[{_UNSPACED}]+|{_SPACED}(?:['’]{_SPACED})*")
_FIRST_UNSPACED = re.compile(f"[{_UNSPACED}]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。\uff01\uff1f])|\n+")
ItemT = TypeVar("ItemT", bound=Hashable)


class Word(NamedTuple):
    """A word of a text in lower case, and where it stands: `text[start:end]`."""

    word: str
    start: int
    end: int


def find_words(text: str) -> Iterator[Word]:
    """The words of a text, in order.

    A run of a script without spaces gives every pair of neighbouring characters as a word: pairs overlap, so that a
    copied passage is found wherever it starts, and their number is about that of the characters.
    """
    for match in _WORD.finditer(text):
        start, end = match.span()
        if not _FIRST_UNSPACED.match(match[0]):
            yield Word(match[0].lower(), start, end)
        else:
            for first in range(start, max(start + 1, end - 1)):
                yield Word(text[first : min(first + 2, end)], first, min(first + 2, end))


def words(text: str) -> list[str]:
    """The words of a text of any script, in lower case and without punctuation; "don't" is one word.

    See `find_words` for scripts without spaces.
    """
    return [found.word for found in find_words(text)]


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
