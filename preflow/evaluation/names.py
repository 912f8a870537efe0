"""The names of judges and measures, in files and for readers."""

from typing import Literal

JudgeRole = Literal["label score", "label metric", "monitor", "reward model"]

# Names of the judges that are not metrics.
LABEL_SCORE, REWARD_MODEL = "label_score", "reward_model"
WITHOUT_ENDING = "label_score_without_ended_properly"

# Largest share of reference answers that a scripted answer may beat by a judge that leads.
CANARY_LIMIT = 0.05

# Also the order in which judges are shown.
ROLES: tuple[JudgeRole, ...] = ("label score", "label metric", "monitor", "reward model")

_NAMES = {
    WITHOUT_ENDING: "Label score without “ended properly”",
    "repetition": "Free of repetition",  # 1 is best, and the bare name would say the opposite
    "response_tokens": "Answer length",
    "eos_rate": "Answers that end by themselves",
    "distinct_1": "Distinct words (distinct-1)",
    "distinct_2": "Distinct word pairs (distinct-2)",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "kl": "KL from the base model",
}


def name_of(key: str) -> str:
    """A measure's name for readers: `fact_coverage` is `Fact coverage`."""
    return _NAMES.get(key) or key.replace("_", " ").strip().capitalize()


def in_sentence(judge: str) -> str:
    """A judge's name inside a sentence: `the label score`, `“fact coverage”`."""
    name = name_of(judge)
    name = name[:1].lower() + name[1:]
    return f"the {name}" if judge in (LABEL_SCORE, WITHOUT_ENDING, REWARD_MODEL) else f"“{name}”"


def temperature_key(temperature: float) -> str:
    """A sampling temperature as the key of a mapping: `0`, `0.7`."""
    return f"{temperature:g}"


def at_temperature(key: str) -> str:
    """A temperature inside a sentence: `greedily`, `at temperature 0.7`."""
    return "greedily" if key == "0" else f"at temperature {key}"
