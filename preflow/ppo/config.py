"""The settings of a PPO run, checked at the start."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Literal

from preflow.errors import PreflowError

_MOST_TRAIN_STEPS = 20_000


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO. Units and defaults are those of the field unless a comment says otherwise.

    Attributes:
        train_steps: Updates; each samples `batch_size` new episodes. At most 20,000.
        batch_size: Episodes an update.
        samples_per_prompt: Episodes of the same prompt; must divide `batch_size`. With more than one, the mean score of
            the others is a baseline for each: most of the variance of scores lies between prompts, not between answers.
        epochs: Passes over the episodes of an update.
        minibatches: Optimizer steps a pass; must divide `batch_size`.
        microbatch_tokens: Tokens in one forward and backward, padding included; changes memory and speed, not the
            result.
        learning_rate: Of AdamW on the policy, after one update of warm-up falling linearly to 0.
        critic_learning_rate: The same for what predicts values.
        lora_rank: Rank of adapters on the linear layers; their alpha is twice that. 0 trains the weights themselves.
        lora_layers: How many of the uppermost layers get adapters; 0 takes all. The ones below run once a rollout.
        top_layers: Without adapters, how many of the uppermost layers are trained; 0 takes the whole model.
        critic: "shared", a value head on the policy's hidden states, or "separate", a model of its own with its own
            optimizer, which starts as the reward model. Where returns are not its scores (several samples a prompt,
            other parts of the reward, `normalize_reward`) only the backbone does, and its head starts at 0.
        critic_warmup_steps: First updates in which only the critic learns.
        kl_coeff: Weight of the per-token KL penalty in the reward, in reward standard deviations per nat.
        kl_target: Nats a response that `kl_coeff` is adapted to; 0 leaves it fixed.
        kl_horizon: Episodes over which it is adapted.
        kl_budget: Nats a response at which the run ends; 0 sets no end.
        target_kl: Approximate KL a token, between the policy and the one that sampled, at which the remaining optimizer
            steps of an update are left out; 0 takes them all.
        reward_threshold: Mean score at which the run ends, if any.
        clip_range: Of the probability ratio.
        value_clip_range: Of the value's change.
        value_coeff: Weight of the value loss.
        gamma: Discount.
        gae_lambda: Of generalised advantage estimation. 1 lets the score reach the first tokens undiminished, which a
            short run needs: its value head has hardly learned yet.
        missing_eos: "subtract" takes `missing_eos_penalty` off the score of an episode that hit the length limit,
            "replace" gives it that penalty as its score.
        missing_eos_penalty: In standard deviations of the reward. A large penalty drowns what the reward model says of
            the answers: they end, and no more.
        normalize_reward: Divide scores by the standard deviation of all scores so far. Their zero stays where it is.
        reward_clip: Scores are cut to plus and minus that; 0 cuts none.
        eval_steps: After every so many updates the validation prompts are answered and judged; 0 never.
        eval_prompts: How many of them.
        keep_best: Whether the policy that comes out is the one that scored best on the validation prompts, of those
            that no monitor speaks against, and not the last one.
        max_gradient_norm: Gradients are scaled down to it.
        temperature: Of sampling; log-probabilities are taken at it.
        target_sequence_length: Largest number of tokens of a response.
        seed: Of everything random.
    """

    train_steps: int = 13
    batch_size: int = 32
    samples_per_prompt: int = 4
    epochs: int = 2
    minibatches: int = 4
    microbatch_tokens: int = 1024
    learning_rate: float = 1e-3
    critic_learning_rate: float = 1e-3
    lora_rank: int = 16
    lora_layers: int = 10
    top_layers: int = 0
    critic: Literal["shared", "separate"] = "shared"
    critic_warmup_steps: int = 0
    kl_coeff: float = 0.02
    kl_target: float = 0.0
    kl_horizon: int = 10_000
    kl_budget: float = 0.0
    target_kl: float = 0.0
    reward_threshold: float | None = None
    clip_range: float = 0.2
    value_clip_range: float = 0.2
    value_coeff: float = 0.1
    gamma: float = 1.0
    gae_lambda: float = 1.0
    missing_eos: Literal["subtract", "replace"] = "subtract"
    missing_eos_penalty: float = 0.1
    normalize_reward: bool = False
    reward_clip: float = 0.0
    eval_steps: int = 0
    eval_prompts: int = 32
    keep_best: bool = False
    max_gradient_norm: float = 1.0
    temperature: float = 1.0
    target_sequence_length: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses settings that contradict each other."""
        for field in fields(self):
            must = _must_be(field.type, getattr(self, field.name))
            self._refuse(field.name, bool(must), f"it must be {must}")
        for name in (
            "train_steps",
            "batch_size",
            "samples_per_prompt",
            "epochs",
            "minibatches",
            "microbatch_tokens",
            "kl_horizon",
            "eval_prompts",
            "target_sequence_length",
        ):
            self._refuse(name, getattr(self, name) < 1, "it must be at least 1")
        for name in (
            "lora_rank",
            "lora_layers",
            "top_layers",
            "critic_warmup_steps",
            "eval_steps",
            "kl_target",
            "kl_budget",
            "target_kl",
            "missing_eos_penalty",
            "reward_clip",
            "learning_rate",
            "critic_learning_rate",
            "value_coeff",
        ):
            self._refuse(name, getattr(self, name) < 0, "it must not be negative")
        for name in ("clip_range", "value_clip_range", "max_gradient_norm"):
            self._refuse(name, getattr(self, name) <= 0, "it must be above 0")
        for name in ("gamma", "gae_lambda"):
            self._refuse(name, not 0 <= getattr(self, name) <= 1, "it must be between 0 and 1")
        self._refuse("kl_coeff", self.kl_coeff < 0, "a negative penalty would reward leaving the reference")
        self._refuse("train_steps", self.train_steps > _MOST_TRAIN_STEPS, f"at most {_MOST_TRAIN_STEPS} are possible")
        self._refuse("critic", self.critic not in ("shared", "separate"), "choose shared or separate")
        self._refuse("missing_eos", self.missing_eos not in ("subtract", "replace"), "choose subtract or replace")
        self._refuse("temperature", self.temperature <= 0, "PPO learns from sampled answers, so it must be above 0")
        self._refuse(
            "minibatches",
            self.batch_size % self.minibatches > 0,
            f"it must divide batch_size, {self.batch_size}, so that every optimizer step sees as many episodes",
        )
        self._refuse(
            "samples_per_prompt",
            self.batch_size % self.samples_per_prompt > 0,
            f"it must divide batch_size, {self.batch_size}",
        )
        self._refuse(
            "top_layers",
            self.top_layers > 0 and self.lora_rank > 0,
            f"adapters (lora_rank {self.lora_rank}) leave the weights as they are; set one of the two to 0",
        )
        self._refuse("keep_best", self.keep_best and not self.eval_steps, "nothing is compared with an eval_steps of 0")
        self._refuse("kl_target", self.kl_target > 0 and self.kl_coeff == 0, "a kl_coeff of 0 cannot be adapted to it")
        self._refuse(
            "critic_warmup_steps",
            self.critic_warmup_steps >= self.train_steps,
            f"the policy would never learn in the {self.train_steps} train_steps",
        )

    def _refuse(self, name: str, wrong: bool, why: str) -> None:
        if wrong:
            raise PreflowError(f"{name}: {getattr(self, name)} given; {why}")

    @property
    def steps_per_update(self) -> int:
        """Optimizer steps of one update."""
        return self.epochs * self.minibatches

    @property
    def optimizer_steps(self) -> int:
        """How many optimizer steps the run is planned to take."""
        return self.train_steps * self.steps_per_update

    def rate(self, step: int) -> float:
        """What learning rates are multiplied by at an optimizer step: warm-up over an update, then a linear fall to 0.

        A function of the planned steps alone, so that steps which are skipped or left out change nothing.
        """
        warmup = self.steps_per_update
        left = (self.optimizer_steps - step) / max(1, self.optimizer_steps - warmup)
        return min((step + 1) / warmup, max(0.0, left), 1.0)


def _must_be(kind: Any, value: Any) -> str:
    """What a setting of a kind must be, where the value is something else."""
    if kind is bool:
        return "" if isinstance(value, bool) else "true or false"
    if kind is int:
        return "" if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if kind is float or (kind == float | None and value is not None):
        number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        return "" if number else "a number"
    return ""


def ppo_config(options: Mapping[str, Any], **settings: Any) -> PPOConfig:
    """Settings with further ones by name, as a pipeline passes them on.

    Raises:
        PreflowError: An option does not exist or is given twice, or settings contradict each other.
    """
    free = {field.name: field.type for field in fields(PPOConfig) if field.name not in settings}
    for name in options:
        if name not in free:
            why = "is a parameter of its own" if name in settings else f"is not known; choose from {', '.join(free)}"
            raise PreflowError(f"ppo_options: '{name}' {why}")
    whole = {  # KFP hands every number in a dictionary on as a float
        name: int(value)
        for name, value in options.items()
        if free[name] is int and isinstance(value, float) and value.is_integer()
    }
    return PPOConfig(**{**settings, **options, **whole})
