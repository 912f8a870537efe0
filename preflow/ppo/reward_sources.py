"""The reward: a weighted sum of a reward model, classifiers, automated metrics and Python functions."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from preflow.chat import last_user_turn
from preflow.errors import PreflowError
from preflow.identity import digest_bytes
from preflow.models import load_sequence_classifier, load_tokenizer, preferred_dtype
from preflow.ppo.algorithm import replace_nonfinite
from preflow.ppo.config import PPOConfig
from preflow.ppo.reward_parts import check_reward_weights, classifier_of
from preflow.reward.model import RewardModel
from preflow.rows import Prompt
from preflow.scoring.metric import Embed, ScoredText
from preflow.scoring.registry import METRICS

_BATCH = 64


class Answers(NamedTuple):
    """B answers to score.

    Attributes:
        prompts: Prompt of each answer.
        responses: Text of each answer.
        stopped: Whether each answer ended with an end-of-sequence token.
    """

    prompts: Sequence[Prompt]
    responses: Sequence[str]
    stopped: Sequence[bool]


ScoreAnswers = Callable[[Answers], Tensor]
"""A function from B answers to `[B]` float32 scores on the CPU."""


class Source(NamedTuple):
    """One part of the reward."""

    weight: float
    score: ScoreAnswers


def load_rewards(
    weights: Mapping[str, float], *, reward_model: Path | None, embed: Embed, config: PPOConfig
) -> dict[str, Source]:
    """Loads the parts of a reward.

    Args:
        weights: Weights by name of the part:
            `reward_model`, the score of the reward model, 0 for an answer as good as a reference;
            `classifier:MODEL#LABEL`, the logit of that class of a Hugging Face sequence classifier that reads the
            response, with `#LABEL` appended if there are more than two classes;
            `scorer:METRIC`, an automated metric, between 0 and 1;
            `function:MODULE:NAME`, a Python function of `prompts` and `completions`, lists of equal length, that
            returns a number for each.
        reward_model: Folder of a reward model, for the part of that name.
        embed: Embedding for metrics that compare meanings.
        config: Settings.

    Raises:
        PreflowError: A part is unknown or cannot be loaded, or `config.missing_eos` is "replace" and a part has no zero
            point.
    """
    check_reward_weights(weights, config)
    # By name: KFP hands the entries of a dictionary on in any order, and a sum of floats depends on it.
    return {name: Source(weights[name], _load(name, reward_model, embed)) for name in sorted(weights)}


def parts_of(sources: Mapping[str, Source], answers: Answers) -> dict[str, Tensor]:
    """Unweighted `[B]` float32 scores of each part."""
    return {name: source.score(answers).float() for name, source in sources.items()}


def total_of(sources: Mapping[str, Source], parts: Mapping[str, Tensor]) -> tuple[Tensor, int]:
    """`[B]` weighted sums of the parts, and the number of answers without a score by some part.

    A missing score counts as the mean of its part.

    Raises:
        PreflowError: No answer has a score by any part.
    """
    missing = ~torch.stack([scores.isfinite() for scores in parts.values()])
    if bool(missing.all()):
        raise PreflowError(
            f"`reward_weights`: no answer has a score by {' or '.join(parts)}; choose a part that fits the prompts"
        )
    weighted = [sources[name].weight * replace_nonfinite(scores) for name, scores in parts.items()]
    return torch.stack(weighted).sum(0), int(missing.any(0).sum())


def metric_scores(name: str, embed: Embed, answers: Answers) -> Tensor:
    """`[B]` scores by an automated metric, NaN where it does not apply."""
    texts = [
        ScoredText(last_user_turn(prompt.prompt), response, stopped, prompt.reference)
        for prompt, response, stopped in zip(*answers, strict=True)
    ]
    values = [score.value for score in METRICS[name].score(texts, embed)]
    return torch.tensor([float("nan") if value is None else value for value in values])


def function_digest(part: str) -> str:
    """Digest of the file that defines a `function:MODULE:NAME`, which may be imported into MODULE; '' for other parts.

    Code that this file imports is not in it.

    Raises:
        PreflowError: The function cannot be loaded.
    """
    kind, _, rest = part.partition(":")
    if kind != "function":
        return ""
    module, _, name = rest.partition(":")
    function = _function(part, module, name)
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:  # an object that can be called
        file = getattr(sys.modules[module], "__file__", None)
    return digest_bytes(Path(file).read_bytes()) if file else ""


def _load(name: str, reward_model: Path | None, embed: Embed) -> ScoreAnswers:
    kind, _, rest = name.partition(":")
    if kind == "reward_model":
        if reward_model is None:
            raise PreflowError("`reward_weights`: 'reward_model' is named, but no reward model is given")
        return partial(_by_reward_model, RewardModel.load(reward_model, preferred_dtype()))
    if kind == "classifier":
        reference, label = classifier_of(name)
        model = load_sequence_classifier(reference)
        return partial(_by_classifier, model, load_tokenizer(reference), _class(reference, model.config, label))
    if kind == "scorer":
        return partial(metric_scores, rest, embed)
    return partial(_by_function, name, _function(name, *rest.split(":")))


def _by_reward_model(model: RewardModel, answers: Answers) -> Tensor:
    return model.score([row.prompt for row in answers.prompts], answers.responses)


@torch.no_grad()
def _by_classifier(model: Any, tokenizer: Any, index: int, answers: Answers) -> Tensor:
    limit = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512))
    parts = []
    for start in range(0, len(answers.responses), _BATCH):
        texts = list(answers.responses[start : start + _BATCH])
        batch = tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        parts.append(model(**batch.to(model.device)).logits[:, index].float().cpu())
    return torch.cat(parts)


def _by_function(name: str, function: Callable[..., Sequence[float]], answers: Answers) -> Tensor:
    prompts = [row.prompt for row in answers.prompts]
    scores = torch.as_tensor(function(prompts=prompts, completions=list(answers.responses)), dtype=torch.float32)
    if scores.shape != (len(prompts),):
        raise PreflowError(
            f"`reward_weights`: '{name}' returned scores of shape {tuple(scores.shape)}, not ({len(prompts)},)"
        )
    return scores


def _class(reference: str, config: Any, label: str) -> int:
    """Index of the logit to read: that of the named class, or of the only one.

    Which of two classes is the good one is not said by their order: {0: nothate, 1: hate} is as common as the reverse.
    """
    names = {str(name): int(index) for index, name in config.id2label.items()}
    if label:
        if label not in names:
            raise PreflowError(f"`reward_weights`: '{reference}' has no class '{label}'; it has {', '.join(names)}")
        return names[label]
    if len(names) > 1:
        raise PreflowError(
            f"`reward_weights`: '{reference}' has {len(names)} classes; add #{next(iter(names))} or another"
        )
    return 0


def _function(name: str, module: str, attribute: str) -> Callable[..., Any]:
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PreflowError(f"`reward_weights`: '{name}' cannot be loaded ({error}); install the module") from None
    return function
