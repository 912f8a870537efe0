"""The data of a report, and the names that its readers see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from preflow.evaluation.win_rates import WinRate
from preflow.rows import Evaluation

JudgeRole = Literal["label score", "label metric", "monitor", "reward model"]

# Names of the judges that are not metrics.
LABEL_SCORE, REWARD_MODEL = "label_score", "reward_model"
WITHOUT_ENDING = "label_score_without_ended_properly"

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


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows. The same data always gives the same report.

    Attributes:
        title: Name of the run, shown above the headline.
        base_model: The model the tuned one was trained from.
        policy_digest: Digest of the tuned policy.
        max_tokens: Longest answer in tokens.
        parameters: The run's parameters; values are shown as JSON.
        evaluations: One row per test prompt, with the answers `base` and `tuned`.
        win_rates: Win rates by judge, without the judges that scored no prompt.
        judge_roles: The role of every judge. The first with the role `label score` decides the headline; in a run
            without labels it is the reward model.
        base: The base model's measures: `response_tokens`, `eos_rate` (a share), `distinct_1`, `distinct_2`, `rouge_l`,
            `bleu`, and the mean score of every judge under the judge's name. Null if undefined.
        tuned: Measures of the tuned model, likewise.
        kl: KL divergence of the tuned from the base model, in nats per answer.
        reward_summary: What `train_reward_model` returned; may be empty.
        training_log: The rows that `ppo_optimize` logged, one per update; may be empty.
        examples: Number of side-by-side answers that are shown open.
        definitions: Meanings of measures by key, such as the descriptions of metrics. They replace built-in ones of the
            same key; those of measures that the run does not have are left out.
    """

    title: str
    base_model: str
    policy_digest: str
    max_tokens: int
    parameters: Mapping[str, Any]
    evaluations: Sequence[Evaluation]
    win_rates: Mapping[str, WinRate]
    judge_roles: Mapping[str, JudgeRole]
    base: Mapping[str, float | None]
    tuned: Mapping[str, float | None]
    kl: float | None
    reward_summary: Mapping[str, Any]
    training_log: Sequence[Mapping[str, Any]]
    examples: int = 8
    definitions: Mapping[str, str] = field(default_factory=dict)

    @property
    def judges(self) -> list[str]:
        """All judges, by role and then in the order given."""
        return sorted(self.judge_roles, key=lambda judge: ROLES.index(self.judge_roles[judge]))

    @property
    def headline_judge(self) -> str | None:
        """The judge that decides the headline and who won a prompt; None when there are no judges."""
        first = {role: judge for judge, role in reversed(list(self.judge_roles.items()))}
        return first.get("label score") or first.get("reward model") or next(iter(self.judge_roles), None)


def name_of(key: str) -> str:
    """A measure's name for readers: `fact_coverage` is `Fact coverage`."""
    return _NAMES.get(key) or key.replace("_", " ").strip().capitalize()


def in_sentence(judge: str) -> str:
    """A judge's name inside a sentence: `the label score`, `“fact coverage”`."""
    name = name_of(judge)
    name = name[:1].lower() + name[1:]
    return f"the {name}" if judge in (LABEL_SCORE, WITHOUT_ENDING, REWARD_MODEL) else f"“{name}”"


def number_in(summary: Mapping[str, Any], key: str) -> float | None:
    """A number of a summary, or None if it is missing or not a number."""
    value = summary.get(key)
    return float(value) if isinstance(value, int | float) else None
