"""Settings of a PPO run, and their checks. Imports no torch."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from preflow.errors import PreflowError
from preflow.settings import ModelSettings, require


def _setting(group: str, default: Any, description: str, **limits: Any) -> Any:
    """A field that the command line lists in a group."""
    return Field(default, description=description, json_schema_extra={"group": group}, **limits)


class PPOConfig(ModelSettings):
    """Settings of PPO; `model_fields` describes each of them."""

    train_steps: int = _setting("training", 13, "updates; each samples `batch_size` new episodes", ge=1, le=20_000)
    batch_size: int = _setting("training", 64, "episodes per update", ge=1)
    samples_per_prompt: int = _setting(
        "training",
        4,
        "episodes of the same prompt; must divide `batch_size`. With more than one, the mean score of the others is a "
        "baseline for each: most of the variance of scores lies between prompts, not between answers",
        ge=1,
    )
    epochs: int = _setting("training", 1, "passes over the episodes of an update", ge=1)
    minibatches: int = _setting("training", 8, "optimizer steps per pass; must divide the number of prompts", ge=1)
    microbatch_tokens: int = _setting(
        "training",
        1024,
        "tokens in one forward and backward pass, padding included; changes memory and speed, not the result",
        ge=1,
    )
    checkpoint_steps: int = _setting("training", 1, "updates between two checkpoints, where any are kept", ge=1)
    learning_rate: float = _setting(
        "training",
        0.0,
        "AdamW's peak learning rate, which warms up over one update and then falls linearly to 0; 0 takes 1e-3 for "
        "adapters and 3e-6 for whole weights",
        ge=0,
    )
    clip_range: float = _setting("training", 0.2, "clipping range of the probability ratio", gt=0)
    target_kl: float = _setting(
        "training",
        0.0,
        "approximate KL per token between the policy and the one that sampled, at which the remaining optimizer steps "
        "of an update are left out; 0 takes them all",
        ge=0,
    )
    max_gradient_norm: float = _setting("training", 1.0, "gradient norm that larger gradients are scaled down to", gt=0)
    gamma: float = _setting("training", 1.0, "discount factor", ge=0, le=1)
    gae_lambda: float = _setting(
        "training",
        1.0,
        "lambda of generalised advantage estimation; at 1 the score reaches the first tokens undiminished, which a "
        "short run needs because its critic has learned little",
        ge=0,
        le=1,
    )

    lora_rank: int = _setting(
        "adapters and critic",
        16,
        "rank of the LoRA adapters on linear layers, their alpha being twice that; 0 trains the weights themselves",
        ge=0,
    )
    lora_layers: int = _setting(
        "adapters and critic",
        10,
        "how many of the uppermost layers get adapters, 0 for all; the layers below run once per rollout",
        ge=0,
    )
    top_layers: int = _setting(
        "adapters and critic",
        0,
        "how many of the uppermost layers are trained when there are no adapters; 0 trains the whole model",
        ge=0,
    )
    critic: Literal["shared", "separate", "none"] = _setting(
        "adapters and critic",
        "shared",
        "`shared`, a value head on the policy's hidden states, `separate`, a model with its own optimizer that "
        "starts as the reward model, or with a zero head where returns are not the reward model's scores, or `none`, "
        "where the mean score of a prompt's other samples is the only baseline (RLOO)",
    )
    critic_learning_rate: float = _setting(
        "adapters and critic",
        0.0,
        "peak learning rate of the critic, with the same schedule; 0 takes 1e-3 for a value head and 1e-5 for a "
        "separate critic",
        ge=0,
    )
    critic_warmup_steps: int = _setting(
        "adapters and critic", 0, "first updates, in which only the critic learns", ge=0
    )
    value_clip_range: float = _setting("adapters and critic", 0.2, "clipping range of the value's change", gt=0)
    value_coeff: float = _setting("adapters and critic", 0.1, "weight of the value loss", ge=0)

    kl_coeff: float = _setting(
        "KL", 0.02, "weight of the per-token KL penalty in the reward, in reward standard deviations per nat", ge=0
    )
    kl_target: float = _setting(
        "KL", 0.0, "KL in nats per response that `kl_coeff` is adapted towards; 0 keeps it fixed", ge=0
    )
    kl_horizon: int = _setting(
        "KL", 0, "episodes over which `kl_coeff` may change by a fifth; 0 takes a tenth of the run's episodes", ge=0
    )
    kl_budget: float = _setting(
        "KL",
        0.0,
        "KL in nats per response: above it in the mean of the last 3 updates' episodes, the run ends, and the last "
        "policy whose own episodes were within it is written; 0 sets no limit",
        ge=0,
    )

    normalize_reward: bool | None = _setting(
        "rewards",
        None,
        "whether scores are divided by the standard deviation of all scores so far; 0 remains 0. By default, if a "
        "function or a classifier has a weight in the reward: their unit is unknown, and `kl_coeff`, "
        "`missing_eos_penalty` and `value_clip_range` are in standard deviations",
    )
    reward_clip: float = _setting("rewards", 0.0, "bound at which scores are clipped on both sides; 0 clips none", ge=0)
    reward_threshold: float | None = _setting(
        "rewards", None, "mean score of the last 3 updates at which the run ends, if any"
    )
    missing_eos: Literal["subtract", "replace"] = _setting(
        "rewards",
        "subtract",
        "`subtract` takes `missing_eos_penalty` off the score of an episode that hit the length limit, `replace` makes "
        "the negative penalty its score",
    )
    missing_eos_penalty: float = _setting(
        "rewards",
        0.1,
        "penalty in standard deviations of the reward for an episode that hit the length limit; a large one drowns the "
        "reward model's signal",
        ge=0,
    )

    eval_steps: int = _setting(
        "validation", 7, "updates between two evaluations on the validation prompts; 0 for none", ge=0
    )
    eval_prompts: int = _setting("validation", 32, "number of validation prompts", ge=1)
    keep_best: bool = _setting(
        "validation",
        False,
        "whether to write the evaluated policy with the highest reward less `kl_coeff` times KL on the validation "
        "prompts, instead of the last one; where a monitor fell, or KL is above `kl_budget` there, it does not count",
    )

    temperature: float = _setting("sampling", 0.85, "sampling temperature, at which log-probabilities are taken", gt=0)
    sampling_batch_size: int = _setting(
        "sampling",
        0,
        "responses sampled at once, whose keys and values have to fit into memory; changes memory and speed, not the "
        "result; 0 samples all of an update",
        ge=0,
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Raises if settings contradict each other."""
        prompts, left = divmod(self.batch_size, self.samples_per_prompt)
        require(
            left == 0, "samples_per_prompt", self.samples_per_prompt, f"must divide `batch_size`, {self.batch_size}"
        )
        require(
            prompts % self.minibatches == 0,
            "minibatches",
            self.minibatches,
            f"must divide the number of prompts, `batch_size` / `samples_per_prompt` = {prompts}",
        )
        require(
            not (self.top_layers and self.lora_rank),
            "top_layers",
            self.top_layers,
            f"must be 0 while adapters (`lora_rank` {self.lora_rank}) leave the weights frozen",
        )
        require(not self.keep_best or self.eval_steps > 0, "keep_best", self.keep_best, "needs `eval_steps` above 0")
        require(not self.kl_target or self.kl_coeff > 0, "kl_target", self.kl_target, "needs a `kl_coeff` above 0")
        if self.critic == "none":
            without = "while `critic` is none"
            baseline = f"must be above 1 {without}, or scores have no baseline"
            require(self.samples_per_prompt > 1, "samples_per_prompt", self.samples_per_prompt, baseline)
            warmup = self.critic_warmup_steps
            require(warmup == 0, "critic_warmup_steps", warmup, f"must be 0 {without}")
            require(self.gae_lambda == 1, "gae_lambda", self.gae_lambda, f"must be 1 {without}")
        require(
            self.critic_warmup_steps < self.train_steps,
            "critic_warmup_steps",
            self.critic_warmup_steps,
            f"must be below `train_steps`, {self.train_steps}, or the policy never learns",
        )
        return self

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> Self:
        """Makes the settings from a step's arguments and from the further settings in its `ppo_options`.

        Raises:
            PreflowError: An option is unknown or also an argument, or a setting is not valid.
        """
        options = arguments.get("ppo_options", {})
        free = [name for name in cls.model_fields if name not in arguments]
        for name in options:
            if name not in free:
                known = name in cls.model_fields
                why = "is a parameter of its own" if known else f"is not known; choose from {', '.join(free)}"
                raise PreflowError(f"`ppo_options`: '{name}' {why}")
        return super().of({**arguments, **options})

    @property
    def steps_per_update(self) -> int:
        """Optimizer steps per update."""
        return self.epochs * self.minibatches

    @property
    def horizon(self) -> float:
        """Episodes over which `kl_coeff` may change by a fifth, so that it can change seven-fold in a run."""
        return self.kl_horizon or self.train_steps * self.batch_size / 10

    @property
    def optimizer_steps(self) -> int:
        """Planned optimizer steps of the run."""
        return self.train_steps * self.steps_per_update

    @property
    def policy_rate(self) -> float:
        """Peak learning rate of the policy. That of whole weights is arXiv:2403.17031's."""
        return self.learning_rate or (1e-3 if self.lora_rank else 3e-6)

    @property
    def critic_rate(self) -> float:
        """Peak learning rate of the critic."""
        return self.critic_learning_rate or (1e-5 if self.critic == "separate" else 1e-3)

    def rate(self, step: int) -> float:
        """Learning-rate factor at an optimizer step: warm-up over one update, then a linear fall to 0.

        It depends on planned steps alone, so steps that are skipped or left out do not shift the schedule.
        """
        warmup = self.steps_per_update
        left = (self.optimizer_steps - step) / max(1, self.optimizer_steps - warmup)
        return min((step + 1) / warmup, max(0.0, left), 1.0)
