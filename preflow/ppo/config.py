"""The settings of a PPO run, checked at the start."""

from dataclasses import dataclass

from preflow.errors import PreflowError


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO. Units and defaults are those of the field unless a comment says otherwise.

    Attributes:
        train_steps: Updates; each samples `batch_size` new episodes.
        batch_size: Episodes an update.
        samples_per_prompt: Episodes of the same prompt; must divide `batch_size`. With more than one, the mean score of
            the others is a baseline for each: most of the variance of scores lies between prompts, not between answers.
        epochs: Passes over the episodes of an update.
        minibatches: Optimizer steps a pass; must divide `batch_size`.
        microbatch_size: Episodes in one forward and backward; changes memory and speed, not the result.
        learning_rate: Of AdamW on the LoRA weights, after one update of warm-up falling linearly to 0.
        value_learning_rate: The same for the value head, which starts from nothing.
        lora_rank: Rank of the adapters on the linear layers; their alpha is twice that.
        lora_layers: How many of the uppermost layers get adapters; 0 takes all. The ones below run once a rollout.
        kl_coeff: Weight of the per-token KL penalty in the reward, in reward standard deviations per nat.
        clip_range: Of the probability ratio.
        value_clip_range: Of the value's change.
        value_coeff: Weight of the value loss.
        gamma: Discount.
        gae_lambda: Of generalised advantage estimation. 1 lets the score reach the first tokens undiminished, which a
            short run needs: its value head has hardly learned yet.
        missing_eos_penalty: Subtracted from the score of an episode that hit the length limit, in standard deviations
            of the reward. A large penalty drowns what the reward model says of the answers: they end, and no more.
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
    microbatch_size: int = 8
    learning_rate: float = 1e-3
    value_learning_rate: float = 1e-3
    lora_rank: int = 16
    lora_layers: int = 10
    kl_coeff: float = 0.02
    clip_range: float = 0.2
    value_clip_range: float = 0.2
    value_coeff: float = 0.1
    gamma: float = 1.0
    gae_lambda: float = 1.0
    missing_eos_penalty: float = 0.1
    max_gradient_norm: float = 1.0
    temperature: float = 1.0
    target_sequence_length: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses settings that contradict each other."""
        for name in (
            "train_steps",
            "batch_size",
            "samples_per_prompt",
            "epochs",
            "minibatches",
            "microbatch_size",
            "lora_rank",
            "target_sequence_length",
        ):
            if getattr(self, name) < 1:
                raise PreflowError(f"{name}: {getattr(self, name)} given; it must be at least 1")
        if self.batch_size % self.minibatches:
            raise PreflowError(
                f"minibatches: {self.minibatches} do not divide the {self.batch_size} episodes of batch_size; "
                "choose a divisor, so that every optimizer step sees as many episodes"
            )
        if self.batch_size % self.samples_per_prompt:
            raise PreflowError(
                f"samples_per_prompt: {self.samples_per_prompt} does not divide batch_size, {self.batch_size}"
            )
        if self.temperature <= 0:
            raise PreflowError(
                f"temperature: {self.temperature} given; PPO learns from sampled answers, so it must be above 0"
            )
        if self.kl_coeff < 0:
            raise PreflowError(
                f"kl_coeff: {self.kl_coeff} given; a negative penalty would reward leaving the reference"
            )

    @property
    def optimizer_steps(self) -> int:
        """How many optimizer steps the run is planned to take."""
        return self.train_steps * self.epochs * self.minibatches
