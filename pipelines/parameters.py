"""The one table of pipeline parameters, and the one dictionary between their names and the library's.

A pipeline's signature, its docstring, the launcher's checks and the options of the command line are made from these.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from preflow.evaluation.base_config import BaseInferenceConfig
from preflow.evaluation.verdict import PromotionConfig
from preflow.generation.config import GenerationConfig
from preflow.ppo.config import PPOConfig
from preflow.ppo.reward_parts import REWARD_MODEL_ALONE
from preflow.reward.config import RewardModelConfig
from preflow.settings import Settings
from preflow.verbs import VERBS

RENAMED: Mapping[str, Mapping[str, str]] = {
    "log_generations": {"model": "large_model_reference", "temperature": "sampling_temperature"},
    "auto_score": {"encoder": "encoder_reference"},
    "train_reward_model": {
        "base_model": "reward_model_reference",
        "encoder": "encoder_reference",
        "train_steps": "reward_model_train_steps",
        "batch_size": "reward_model_batch_size",
        "learning_rate": "reward_model_learning_rate",
    },
    "ppo_optimize": {
        "model": "large_model_reference",
        "encoder": "encoder_reference",
        "train_steps": "reinforcement_learning_train_steps",
        "batch_size": "reinforcement_learning_batch_size",
        "learning_rate": "reinforcement_learning_learning_rate",
        "samples_per_prompt": "ppo_samples_per_prompt",
        "epochs": "ppo_epochs",
        "minibatches": "ppo_minibatches",
        "eval_steps": "ppo_eval_steps",
        "temperature": "sampling_temperature",
    },
    "base_inference": {
        "model": "large_model_reference",
        "max_prompts": "eval_max_prompts",
        "temperatures": "eval_temperatures",
    },
    "eval_inference": {
        "base_model": "large_model_reference",
        "encoder": "encoder_reference",
        "temperature": "sampling_temperature",
    },
}
"""By verb: what the library calls a setting, and what pipelines call it (Google's name where it has one)."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of the pipelines.

    Attributes:
        name: What users type.
        type: Its type in a pipeline's signature.
        default: Its default.
        help: What it means, as a noun phrase.
        group: The heading it stands under in `preflow run --help`.
        by_launcher: Whether the launcher fills it in; nobody types it.
    """

    name: str
    type: Any
    default: Any
    help: str
    group: str
    by_launcher: bool = False


def _settings(group: str, verb: str, config: type[Settings], *fields: str) -> Iterator[Parameter]:
    """Parameters that are settings of a verb: type, default and help stand in its settings class."""
    renamed = RENAMED.get(verb, {})
    for field in fields:
        info = config.model_fields[field]
        help = re.sub(r"`(\w+)`", lambda name: f"`{renamed.get(name[1], name[1])}`", info.description or "")
        yield Parameter(renamed.get(field, field), info.annotation, info.default, help, group)


def _filled_in(name: str, type: Any, help: str) -> Parameter:
    return Parameter(name, type, type(), f"{help}; filled in by the launcher", "Filled in", by_launcher=True)


_LABEL_WEIGHTS = {"relevance": 1.5, "fluency": 0.6, "ended_properly": 0.5, "repetition": 0.2, "length_fit": 0.2}
_MONITORS = ["own_words", "word_order"]  # which rest on no model
_MODEL = "(a packaged name, a Hugging Face id, a folder or a gs:// folder)"
_FILE = "(path or gs:// URI of JSON Lines, or packaged:"
_ENCODER = "all-MiniLM-L6-v2"

_TABLE = (
    Parameter("prompt_dataset", str, "packaged:prompts", f"prompts to train on {_FILE}prompts)", "Data"),
    Parameter(
        "preference_dataset", str, "packaged:example-feedback",
        f"given preferences {_FILE}example-feedback); '' for none", "Data",
    ),
    Parameter(
        "eval_dataset", str, "",
        f"prompts to judge with {_FILE}test-prompts); '' for packaged:test-prompts with packaged:prompts, and for a "
        "held-out quarter of any other prompts", "Data",
    ),
    Parameter("instruction", str, "", "system turn for prompts without one", "Data"),
    *_settings("Data", "train_reward_model", RewardModelConfig, "prompt_sequence_length", "target_sequence_length"),
    Parameter("large_model_reference", str, "SmolLM2-135M-Instruct", f"policy to tune {_MODEL}", "Models"),
    Parameter("reward_model_reference", str, _ENCODER, f"model that the reward model starts from {_MODEL}", "Models"),
    Parameter("encoder_reference", str, _ENCODER, f"sentence encoder of scorers and baselines {_MODEL}", "Models"),
    Parameter("model_display_name", str, "", "name of the tuned model, kept on the run's record", "Models"),
    *_settings(
        "Answers", "log_generations", GenerationConfig, "num_prompts", "num_validation_prompts", "num_samples"
    ),
    *_settings("Answers", "ppo_optimize", PPOConfig, "temperature"),
    Parameter("label_weights", dict[str, float], _LABEL_WEIGHTS, "weight of each metric that makes labels", "Scores"),
    Parameter("monitors", list[str], _MONITORS, "metrics that are watched and never trained on", "Scores"),
    Parameter("min_score_gap", float, 0.05, "smallest score difference that counts as a preference", "Scores"),
    *_settings(
        "Reward model", "train_reward_model", RewardModelConfig, "train_steps", "batch_size", "learning_rate"
    ),
    *_settings(
        "PPO", "ppo_optimize", PPOConfig,
        "train_steps", "batch_size", "learning_rate", "samples_per_prompt", "epochs", "minibatches",
        "kl_coeff", "missing_eos_penalty", "lora_rank", "eval_steps",
    ),
    Parameter(
        "ppo_options", dict[str, Any], {},
        'further settings of PPO by name, such as {"lora_layers": 0, "kl_target": 6}', "PPO",
    ),
    Parameter(
        "reward_weights", dict[str, float], REWARD_MODEL_ALONE,
        "weights of the reward: reward_model, classifier:MODEL, scorer:METRIC or function:MODULE:NAME", "PPO",
    ),
    *_settings("Evaluation", "base_inference", BaseInferenceConfig, "max_prompts", "temperatures"),
    *_settings("Evaluation", "promote", PromotionConfig, "min_win_rate", "max_kl"),
    *_settings("Run", "ppo_optimize", PPOConfig, "seed"),
    Parameter("database", str, "", "reference of the database; '' for DATABASE_URL or the embedded server", "Run"),
    *(_filled_in(f"{verb}_code", str, f"digest of the code of {verb.replace('_', '-')}") for verb in VERBS),
    _filled_in("datasets_digest", str, "digest of the contents of the three datasets"),
    _filled_in("policy_digest", str, "digest of the policy's files, if it is a local folder"),
    _filled_in("reward_base_digest", str, "digest of the reward model's base, if it is a local folder"),
    _filled_in("encoder_digest", str, "digest of the encoder's files, if it is a local folder"),
    _filled_in("classifiers_digest", str, "digest of the reward's classifiers that are local folders"),
    _filled_in("store_id", str, "identity of the database"),
    _filled_in("feedback_watermark", str, "transaction below which feedback is read"),
    _filled_in("run_id", str, "the launcher's name of the run; '' where the platform names it"),
    _filled_in("checkpoint_root", str, "folder of PPO's checkpoints; '' for none"),
    _filled_in("parameters", dict[str, Any], "all parameters that a person can set, for the record"),
)  # fmt: skip

PARAMETERS: Mapping[str, Parameter] = {parameter.name: parameter for parameter in _TABLE}
BY_LAUNCHER = frozenset(name for name, parameter in PARAMETERS.items() if parameter.by_launcher)
