"""Settings that contradict each other are refused."""

from typing import Any

import pytest

from preflow.errors import PreflowError
from preflow.ppo.config import PPOConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_steps": 0}, "train_steps: 0 given; it must be at least 1"),
        ({"lora_rank": -1}, "lora_rank: -1 given"),
        ({"microbatch_size": 0}, "microbatch_size: 0 given"),
        ({"batch_size": 10, "samples_per_prompt": 1, "minibatches": 4}, "minibatches: 4 do not divide the 10 episodes"),
        ({"batch_size": 10, "samples_per_prompt": 4, "minibatches": 2}, "samples_per_prompt: 4 does not divide"),
        ({"temperature": 0.0}, "temperature: 0.0 given"),
        ({"kl_coeff": -0.1}, "kl_coeff: -0.1 given"),
    ],
)
def test_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PreflowError, match=message):
        PPOConfig(**settings)


def test_the_planned_steps() -> None:
    assert PPOConfig(train_steps=3, batch_size=8, epochs=2, minibatches=4).optimizer_steps == 24
