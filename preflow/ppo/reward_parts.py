"""The parts of a PPO run's reward by name, and the checks of what a step is told. Imports no torch."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from preflow.errors import PreflowError
from preflow.ppo.config import PPOConfig
from preflow.scoring.registry import check_names
from preflow.settings import is_number

REWARD_MODEL_ALONE = {"reward_model": 1.0}
_UNKNOWN_UNIT = ("classifier:", "function:")
_FORMS = "reward_model, classifier:MODEL[#LABEL], scorer:METRIC or function:MODULE:NAME"


def check(arguments: Mapping[str, Any]) -> None:
    """Checks the arguments of ppo-optimize before it runs.

    Args:
        arguments: The fields of `PPOConfig`, `ppo_options`, `reward_weights` and `monitors`, where present.

    Raises:
        PreflowError: A setting, a part of the reward or a monitor is not valid.
    """
    weights = arguments.get("reward_weights", REWARD_MODEL_ALONE)
    check_reward_weights(weights, PPOConfig.of(arguments))
    check_monitors(arguments.get("monitors", ()), weights)


def fitted(config: PPOConfig, weights: Mapping[str, float]) -> PPOConfig:
    """The settings with `normalize_reward` decided: by default, if a part whose unit is unknown has a weight."""
    if config.normalize_reward is not None:
        return config
    unknown = any(weight and name.startswith(_UNKNOWN_UNIT) for name, weight in weights.items())
    return config.model_copy(update={"normalize_reward": unknown})


def check_reward_weights(weights: Mapping[str, float], config: PPOConfig) -> None:
    """Checks the parts of a reward by name, before anything is loaded.

    Raises:
        PreflowError: There is no part, a part is unknown, a weight is not a finite number, or `missing_eos` is
            "replace" and a part has no zero point.
    """
    if not weights:
        raise PreflowError(f"`reward_weights`: no part is named; choose from {_FORMS}")
    for name, weight in weights.items():
        kind, _, rest = name.partition(":")
        if kind == "scorer":
            check_names([rest])
        elif not (
            name == "reward_model" or (kind == "classifier" and rest) or (kind == "function" and rest.count(":") == 1)
        ):
            raise PreflowError(f"`reward_weights`: '{name}' is not known; the forms are {_FORMS}")
        if not is_number(weight):
            raise PreflowError(f"`reward_weights`: the weight of '{name}' is {weight!r}; give a number")
        if config.missing_eos == "replace" and kind in ("classifier", "function"):
            raise PreflowError(
                f"`missing_eos`: 'replace' given, but a score of 0 has no known meaning for '{name}', so a penalty of "
                f"{-config.missing_eos_penalty} cannot replace it; set it to subtract"
            )


def check_monitors(monitors: Sequence[str], parts: Iterable[str]) -> None:
    """Checks monitors against the parts of the reward.

    Raises:
        PreflowError: A monitor is unknown or part of the reward.
    """
    check_names(monitors)
    for name in monitors:
        if f"scorer:{name}" in parts:
            raise PreflowError(f"`monitors`: '{name}' is part of the reward; a monitor must not be trained on")


def classifier_of(part: str) -> tuple[str, str]:
    """Model and class label in `classifier:MODEL[#LABEL]`; '' for a missing label, and two '' for any other part."""
    kind, _, rest = part.partition(":")
    model, _, label = rest.partition("#") if kind == "classifier" else ("", "", "")
    return model, label
