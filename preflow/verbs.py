"""The verbs: what a step, a subcommand and a notebook call by the same name."""

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb of the library. Its component, its task and its subcommand have its name, with hyphens.

    Attributes:
        module: Module of the function, which is named like the verb.
        help: What it does, for a list of commands.
        checks: Modules whose `check(arguments)` says whether the step's arguments fit, before anything runs. They
            import neither torch nor transformers.
    """

    module: str
    help: str
    checks: tuple[str, ...] = ()


VERBS = {
    "validate_inputs": Verb("preflow.inputs", "check datasets and models", ("preflow.inputs",)),
    "log_generations": Verb(
        "preflow.generation.log_generations", "sample answers to prompts and log them", ("preflow.generation.config",)
    ),
    "auto_score": Verb("preflow.scoring.auto_score", "score logged answers", ("preflow.scoring.registry",)),
    "feedback_snapshot": Verb("preflow.feedback.snapshot", "write the feedback below a watermark"),
    "build_preferences": Verb(
        "preflow.preferences", "make preference pairs of scores and feedback", ("preflow.preferences",)
    ),
    "train_reward_model": Verb(
        "preflow.reward.train", "train a reward model on preference pairs", ("preflow.reward.config",)
    ),
    "ppo_optimize": Verb("preflow.ppo.trainer", "tune a policy with PPO", ("preflow.ppo.reward_parts",)),
    "base_inference": Verb(
        "preflow.evaluation.base_inference",
        "let the base model answer the evaluation prompts",
        ("preflow.evaluation.base_config",),
    ),
    "eval_inference": Verb(
        "preflow.evaluation.eval_inference", "compare a tuned policy with its base", ("preflow.evaluation.config",)
    ),
    "promote": Verb(
        "preflow.promotion", "decide whether a tuned policy is promoted, and report", ("preflow.promotion",)
    ),
    "record_run": Verb("preflow.recording", "record a finished run in the database"),
}
