"""Measures of answer texts as a whole: variety (distinct-n) and closeness to references (ROUGE-L, BLEU)."""

import re
from collections.abc import Hashable, Sequence

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters, digits and underscores, of any script."""
    return _WORD.findall(text.lower())


def distinct_n(texts: Sequence[Sequence[Hashable]], n: int) -> float | None:
    """Different n-grams divided by all n-grams, over all texts together (Li et al. 2016, arXiv:1510.03055).

    Falls as texts get longer, so compare it only between models that answered the same prompts, and mind the lengths.

    Args:
        texts: One list of words or token ids per text.
        n: The length of an n-gram.

    Returns:
        A share in (0, 1], or None when no text has `n` words.
    """
    grams = [tuple(text[start : start + n]) for text in texts for start in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams) if grams else None


def rouge_l(responses: Sequence[str], references: Sequence[str | None]) -> float | None:
    """Mean ROUGE-L F1 over the rows that have a reference, in [0, 1]; None when none has.

    Longest common subsequence of words (Lin 2004), by the rouge-score package without stemming. Words are split by
    `words`, because the package's own tokenizer drops every letter outside a-z.

    Raises:
        ValueError: The sequences differ in length.
    """
    from rouge_score.rouge_scorer import RougeScorer

    pairs = _with_reference(responses, references)
    if not pairs:
        return None
    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    return sum(float(scorer.score(reference, response)["rougeL"].fmeasure) for response, reference in pairs) / len(
        pairs
    )


def bleu(responses: Sequence[str], references: Sequence[str | None]) -> float | None:
    """Corpus BLEU over the rows that have a reference, 0 to 100; None when none has.

    By sacreBLEU with its defaults (13a tokenizer, exponential smoothing; Post 2018, arXiv:1804.08771).

    Raises:
        ValueError: The sequences differ in length.
    """
    from sacrebleu import corpus_bleu

    pairs = _with_reference(responses, references)
    if not pairs:
        return None
    return float(corpus_bleu([response for response, _ in pairs], [[reference for _, reference in pairs]]).score)


def _with_reference(responses: Sequence[str], references: Sequence[str | None]) -> list[tuple[str, str]]:
    pairs = zip(responses, references, strict=True)
    return [(response, reference) for response, reference in pairs if reference is not None and reference.strip()]


class _Words:
    """`words` in the shape that rouge-score asks of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)
