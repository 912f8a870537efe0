"""What a response copies from its prompt, as features of a reward model."""

from preflow.scoring.copying import content_stems, copied_share, own_share

OVERLAPS = 3
"""Number of features."""


def overlaps(prompt: str, response: str) -> tuple[float, float, float]:
    """The shares of copied content words, of those beyond what good answers copy, and of the prompt's words used."""
    asked = content_stems(prompt)
    covered = len(asked & content_stems(response)) / len(asked) if asked else 0.0
    return copied_share(prompt, response), 1 - own_share(prompt, response), covered
