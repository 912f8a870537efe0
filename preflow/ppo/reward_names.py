"""Which parts a reward can have, checked by name before anything is loaded."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from preflow.errors import PreflowError
from preflow.ppo.config import PPOConfig
from preflow.scoring.registry import check_names

_FORMS = "reward_model, classifier:MODEL[#LABEL], scorer:METRIC or function:MODULE:NAME"


def check_reward_weights(weights: Mapping[str, float], config: PPOConfig) -> None:
    """Refuses a reward that cannot be.

    Raises:
        PreflowError: There is no part, one that does not exist, a weight that is no number, or a part without a zero
            point where a missing end is punished by a score of its own.
    """
    if not weights:
        raise PreflowError(f"reward_weights: no part is named; choose from {_FORMS}")
    for name, weight in weights.items():
        kind, _, rest = name.partition(":")
        if kind == "scorer":
            check_names([rest])
        elif not (name == "reward_model" or (kind == "classifier" and rest) or _names_a_function(kind, rest)):
            raise PreflowError(f"reward_weights: '{name}' is not known; the forms are {_FORMS}")
        if not isinstance(weight, int | float) or not isfinite(weight):
            raise PreflowError(f"reward_weights: the weight of '{name}' is {weight!r}; give a number")
        if config.missing_eos == "replace" and kind in ("classifier", "function"):
            raise PreflowError(
                f"missing_eos: a score cannot be replaced by {-config.missing_eos_penalty} where nobody knows what 0 "
                f"means, as for '{name}'; set missing_eos to subtract"
            )


def check_monitors(monitors: Sequence[str], parts: Iterable[str]) -> None:
    """Refuses monitors that would not be any.

    Raises:
        PreflowError: A monitor is not known or is a part of the reward.
    """
    check_names(monitors)
    for name in monitors:
        if f"scorer:{name}" in parts:
            raise PreflowError(f"monitors: '{name}' is part of the reward; a monitor must not be trained on")


def classifier_of(part: str) -> tuple[str, str]:
    """Model and class of `classifier:MODEL[#LABEL]`; '' for what is not named, and twice '' for every other part."""
    kind, _, rest = part.partition(":")
    model, _, label = rest.partition("#") if kind == "classifier" else ("", "", "")
    return model, label


def _names_a_function(kind: str, rest: str) -> bool:
    return kind == "function" and rest.count(":") == 1
