"""Do the words of an English answer follow each other as they do in English?"""

import math
import re
from collections.abc import Sequence

from preflow.scoring.english import CORPUS, RAREST_PAIR, is_english, pair_counts, word_counts
from preflow.scoring.metric import ENGLISH, Embed, Metric, Score, ScoredText
from preflow.scoring.words import ngrams

_CLAUSE_END = re.compile(r"[.!?;:,()\"“”\n]+")
_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)*|\d+")
_LEAST, _MOST = -2.0, 3.0  # nats; no single pair decides
_NOTHING, _ENOUGH = 0.5, 1.5  # nats; packaged references have 1.1 to 2.5, in shuffled order 0.9, lists of words 0.2
_UNKNOWN = 0.5


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """The mean association of neighbouring words, 0 at 0.5 nats and 1 at 1.5; 0.5 if the prompt is not English.

    It is 0 for an answer without neighbouring words too. The prompt's language decides, because the policy has no say
    in it.
    """
    return [Score(fluency(text.response) if is_english(text.prompt) else _UNKNOWN) for text in texts]


def fluency(answer: str) -> float:
    """The score of an answer to an English prompt."""
    clauses = [_WORD.findall(clause) for clause in _CLAUSE_END.split(answer.lower())]
    found = [association(left, right) for clause in clauses for left, right in ngrams(clause, 2)]
    mean = math.fsum(found) / len(found) if found else 0.0
    return min(1.0, max(0.0, (mean - _NOTHING) / (_ENOUGH - _NOTHING)))


def association(left: str, right: str) -> float:
    """How much more often two English words stand side by side than by chance: a log ratio in nats, within [-2, 3].

    This is their pointwise mutual information (Church and Hanks 1990). For a pair that was not counted it is an upper
    bound: the pair is rarer than the rarest counted one, which says something about two frequent words and nothing
    (0) about rare or unknown ones.
    """
    words, pairs = word_counts(), pair_counts()
    chance = words.get(left, 0) * words.get(right, 0) / CORPUS
    count = pairs.get((left, right))
    if count is None:
        return max(_LEAST, math.log(min(1.0, RAREST_PAIR / chance))) if chance else 0.0
    return min(_MOST, max(_LEAST, math.log(count / chance)))


METRIC = Metric("fluency", 1, "neighbouring words go together in English (0.5 for other prompts)", score, ENGLISH)
