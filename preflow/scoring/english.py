"""English words and how often two of them stand side by side: the counts that symspellpy ships."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from preflow.scoring.words import words

CORPUS = 1_024_908_267_229
"""Words in the corpus that was counted, as symspellpy has it."""
RAREST_PAIR = 6_400_000
"""The smallest count of a pair."""
_ENGLISH = 0.7


def is_english(text: str) -> bool:
    """Whether seven of ten distinct words of a text are in the English dictionary or numbers."""
    found, known = set(words(text)), word_counts()
    return bool(found) and sum(word in known or word.isdigit() for word in found) >= _ENGLISH * len(found)


@cache
def word_counts() -> Mapping[str, int]:
    """How often each of the 83 thousand words of the dictionary occurs."""
    return {word: int(count) for word, count in _rows("frequency_dictionary_en_82_765.txt")}


@cache
def pair_counts() -> Mapping[tuple[str, str], int]:
    """How often each of the 243 thousand most frequent pairs of neighbouring words occurs."""
    return {(left, right): int(count) for left, right, count in _rows("frequency_bigramdictionary_en_243_342.txt")}


def _rows(name: str) -> list[list[str]]:
    text = (files("symspellpy") / name).read_text(encoding="utf-8-sig")
    return [line.split() for line in text.splitlines()]
