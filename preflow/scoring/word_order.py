"""Do words follow each other as they do in the packaged reference answers?"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from preflow.identity import prompt_id, split_of
from preflow.packaged import packaged_file
from preflow.scoring.english import is_english
from preflow.scoring.metric import REFERENCES, Embed, Metric, Score, ScoredText
from preflow.scoring.words import ngrams

_SENTENCE_END = re.compile(r"[.!?\n]+")
_TOKEN = re.compile(r"[a-z]+(?:['’][a-z]+)*|\d+|[,;:]")
_ENDINGS = ("ing", "ed", "ly", "ion", "er", "al", "s", "y", "e")
_START, _END, _AGAIN, _NUMBER, _OTHER = "<start>", "<end>", "<again>", "<number>", "<other>"
_KEPT = 150  # the most frequent words stand for themselves, the others for the class of their ending
_PRIOR, _TRUST = 0.5, 4.0


def score(texts: Sequence[ScoredText], embed: Embed) -> list[Score]:
    """How well a word is predicted by the two before it, against its frequency alone; null if the prompt isn't English.

    With `g` the mean over the words of `log p(word | two before) - log p(word)`, the score is the logistic function of
    `g`: 0.5 where context says nothing, 0 for an answer without words.
    """
    model = reference_model()
    return [
        Score(model.order(text.response)) if is_english(text.prompt) else Score(None, "the prompt is not in English")
        for text in texts
    ]


class OrderModel:
    """A trigram model over frequent words and classes of rare ones.

    An estimate of order n is `w * count ratio + (1 - w) * estimate of order n - 1` with `w = h / (h + 4)` for a history
    that occurred `h` times (Witten and Bell 1991, with a fixed number of novel words); order 1 adds 1/2 to each count.
    A word that repeats the one before it is a token of its own kind, compared with the frequency of the repeated word.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Counts the runs of one, two and three tokens in the sentences of `texts`."""
        tokens = Counter(token for text in texts for token in _TOKEN.findall(text.lower()))
        self._kept = {token for token, _ in tokens.most_common(_KEPT)}
        self._runs: Counter[tuple[str, ...]] = Counter()
        self._histories: Counter[tuple[str, ...]] = Counter()
        for text in texts:
            for run in self._trigrams(text):
                for n in (1, 2, 3):
                    self._runs[run[-n:]] += 1
                    self._histories[run[-n:-1]] += 1
        self._kinds = sum(len(run) == 1 for run in self._runs) + 1  # and one for all that never occurred

    def order(self, text: str) -> float:
        """The score of a text, in [0, 1)."""
        gains = [self._gain(run) for run in self._trigrams(text)]
        return 1 / (1 + math.exp(-math.fsum(gains) / len(gains))) if gains else 0.0

    def _gain(self, run: tuple[str, ...]) -> float:
        estimate = self._alone(run[-1])
        for n in (2, 3):
            seen = self._histories[run[-n:-1]]
            trust = seen / (seen + _TRUST)
            estimate = trust * self._runs[run[-n:]] / max(1, seen) + (1 - trust) * estimate
        return math.log(estimate / self._alone(run[-2] if run[-1] == _AGAIN else run[-1]))

    def _alone(self, token: str) -> float:
        return (self._runs[token,] + _PRIOR) / (self._histories[()] + _PRIOR * self._kinds)

    def _trigrams(self, text: str) -> Iterator[tuple[str, ...]]:
        for sentence in _SENTENCE_END.split(text.lower()):
            tokens = _TOKEN.findall(sentence)
            if tokens:
                kinds = [_AGAIN if pair[0] == pair[1] else self._kind(pair[1]) for pair in ngrams(["", *tokens], 2)]
                yield from ngrams([_START, _START, *kinds, _END], 3)

    def _kind(self, token: str) -> str:
        if token in self._kept:
            return token
        if token.isdigit():
            return _NUMBER
        return next((f"<{ending}>" for ending in _ENDINGS if token.endswith(ending)), _OTHER)


@cache
def reference_model() -> OrderModel:
    """The model of the packaged references of train prompts: it has not seen what test answers are judged with."""
    rows = [json.loads(line) for line in packaged_file("packaged:prompts").read_text(encoding="utf-8").splitlines()]
    return OrderModel([row["reference"] for row in rows if split_of(prompt_id(row["prompt"])) == "train"])


METRIC = Metric(
    "word_order", 1, "words follow each other as in the packaged references (English only)", score, REFERENCES,
    nullable=True,
)  # fmt: skip
