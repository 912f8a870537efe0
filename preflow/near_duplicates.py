"""Prompts that ask almost the same as other prompts, whatever their case, punctuation, spacing and system turn."""

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from preflow.identity import as_messages
from preflow.rows import PromptText
from preflow.scoring.words import words

_SIMILAR = 0.8  # of the weight of the words of either
_FEWEST_WORDS = 5


def near_duplicates(candidates: Mapping[str, PromptText], of: Mapping[str, PromptText]) -> set[str]:
    """The candidates that nearly repeat a prompt of another set.

    Two prompts nearly repeat each other if their letters are the same (in prompts with digits, the signs too), or if
    both have at least five different words and the weighted Jaccard similarity of these is 0.8 or more. The weight of a
    word is its inverse document frequency, log((N + 1) / n) for n of N prompts, so a template that all prompts share
    counts for next to nothing. Only prompts that have one of their rarest words in common are compared, which loses
    none (prefix filtering; Chaudhuri et al. 2006, doi:10.1109/ICDE.2006.9).

    Args:
        candidates: Prompts by id.
        of: The prompts that they are compared with, by id. A prompt with the id of a candidate is not compared with it.

    Returns:
        Ids of candidates.
    """
    texts = {name: _text(prompt) for name, prompt in {**candidates, **of}.items()}
    same: dict[str, set[str]] = defaultdict(set)
    for name in of:
        same[_letters(texts[name])].add(name)
    bags = {name: frozenset(words(text)) for name, text in texts.items()}
    weights = _weights(bags.values())
    by_word: dict[str, list[str]] = defaultdict(list)
    for name in of:
        for word in _rarest(bags[name], weights):
            by_word[word].append(name)

    def is_near(name: str) -> bool:
        if same[_letters(texts[name])] - {name}:
            return True
        others = {other for word in _rarest(bags[name], weights) for other in by_word[word]} - {name}
        return any(_similarity(bags[name], bags[other], weights) >= _SIMILAR for other in others)

    return {name for name in candidates if is_near(name)}


def _text(prompt: PromptText) -> str:
    turns = [turn["content"] for turn in as_messages(prompt) if turn["role"] != "system"]
    return unicodedata.normalize("NFKC", "\n".join(turns)).casefold()


def _letters(text: str) -> str:
    """What makes two texts the same: their letters, and where there are digits also signs, as 5 + 3 is not 5 - 3."""
    if any(character.isdigit() for character in text):
        return " ".join(text.split()).rstrip(".?! ")
    return "".join(character for character in text if character.isalpha()) or text


def _weights(bags: Iterable[frozenset[str]]) -> dict[str, float]:
    bags = list(bags)
    found = Counter(word for bag in bags for word in bag)
    return {word: math.log((len(bags) + 1) / count) for word, count in found.items()}


def _rarest(bag: frozenset[str], weights: Mapping[str, float]) -> list[str]:
    """The rarest words of a prompt, enough that similar prompts have one of them in common; none of a short prompt.

    What similar prompts share is at least 0.8 of the weight of each, so the rarest word that they share is within the
    first 0.2 of the weight of each.
    """
    if len(bag) < _FEWEST_WORDS:
        return []
    ordered = sorted(bag, key=lambda word: (-weights[word], word))
    spare = (1 - _SIMILAR) * math.fsum(weights[word] for word in bag) + 1e-9
    taken, total = [], 0.0
    for word in ordered:
        if total > spare:
            break
        taken.append(word)
        total += weights[word]
    return taken


def _similarity(left: frozenset[str], right: frozenset[str], weights: Mapping[str, float]) -> float:
    shared = math.fsum(weights[word] for word in left & right)
    return shared / math.fsum(weights[word] for word in left | right)
