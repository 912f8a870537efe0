"""What an answer copies from its prompt, and what it adds."""

import re

from preflow.scoring.words import find_words

_POSSESSIVE = re.compile("['’]s$")
_ENDING = re.compile("(?<=...)(?:ing|ed|e?(?<!s)s|e)$")
_STEM = 5  # letters: "organise", "organised" and "organisation" are one word
USUAL = 0.5
"""How much of its content words a good answer may copy: five of six packaged reference answers copy no larger share."""
_FUNCTION_WORDS = frozenset(
    re.findall(  # English
        r"\S+",
        """
        a about after again all also an and any are as at be because been before being between both but by can could
        did do does doing don't down during each every few for from get give got had has have having he her here him
        his how i i'm if in into is it it's its just let's like may me might more most must my no not of off on one
        only or other our out over own please same shall she should so some such tell than that the their them then
        there these they this those through to too under until up us very was we were what what's when where which
        while who whom whose why will with would yes yet you your
        """,
    )
)


def content_stems(text: str) -> set[str]:
    """The distinct stems of a text's words but for English function words."""
    return {_stem(found.word) for found in find_words(text) if found.word not in _FUNCTION_WORDS}


def copied_share(prompt: str, answer: str) -> float:
    """The share of the answer's content stems that occur in the prompt; 1 if it has none: such an answer adds nothing.

    Every stem counts once, so neither order nor repetition nor a filler between copied words hides a copy.
    """
    stems = content_stems(answer)
    return len(stems & content_stems(prompt)) / len(stems) if stems else 1.0


def own_share(prompt: str, answer: str, usual: float = USUAL) -> float:
    """How much of an answer is its own, in [0, 1].

    1 if its copied share is at most `usual`, by default half as in most good answers, then falling linearly to 0 for a
    copy.
    """
    copied = copied_share(prompt, answer)
    return 1.0 if copied <= usual else (1 - copied) / (1 - usual)


def added(prompt: str, answer: str) -> str:
    """The answer without the words whose stem occurs in the prompt."""
    known = {_stem(found.word) for found in find_words(prompt)}
    kept = list(answer)
    for found in find_words(answer):
        if _stem(found.word) in known:
            kept[found.start : found.end] = " " * (found.end - found.start)
    return re.sub(r"\s+", " ", "".join(kept)).strip()


def _stem(word: str) -> str:
    """The first letters of a word, without a frequent English ending."""
    return _ENDING.sub("", _POSSESSIVE.sub("", word))[:_STEM]
