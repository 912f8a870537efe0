"""How close answers are to their references: ROUGE-L and BLEU."""

from collections.abc import Sequence
from types import SimpleNamespace

from preflow.scoring.words import words


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
    scorer = RougeScorer(["rougeL"], tokenizer=SimpleNamespace(tokenize=words))
    scores = [float(scorer.score(reference, response)["rougeL"].fmeasure) for response, reference in pairs]
    return sum(scores) / len(scores)


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
