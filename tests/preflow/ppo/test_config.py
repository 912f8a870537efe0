"""Settings that contradict each other are refused."""

from typing import Any

import pytest

from preflow.errors import PreflowError
from preflow.ppo.config import PPOConfig, ppo_config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_steps": 0}, "train_steps: 0 given; it must be at least 1"),
        ({"lora_rank": -1}, "lora_rank: -1 given"),
        ({"microbatch_tokens": 0}, "microbatch_tokens: 0 given"),
        ({"train_steps": 20_001}, "train_steps: 20001 given; at most 20000"),
        ({"top_layers": 4}, "top_layers: 4 given; adapters .lora_rank 16. leave the weights as they are"),
        ({"critic": "none"}, "critic: none given; choose shared or separate"),
        ({"missing_eos": "drop"}, "missing_eos: drop given; choose subtract or replace"),
        ({"kl_target": 6.0, "kl_coeff": 0.0}, "kl_target: 6.0 given; a kl_coeff of 0 cannot be adapted"),
        ({"critic_warmup_steps": 13}, "critic_warmup_steps: 13 given; the policy would never learn"),
        ({"target_kl": -1.0}, "target_kl: -1.0 given; it must not be negative"),
        (
            {"batch_size": 10, "samples_per_prompt": 1, "minibatches": 4},
            "minibatches: 4 given; it must divide batch_size, 10",
        ),
        ({"batch_size": 10, "samples_per_prompt": 4, "minibatches": 2}, "samples_per_prompt: 4 given; it must divide"),
        ({"temperature": 0.0}, "temperature: 0.0 given"),
        ({"kl_coeff": -0.1}, "kl_coeff: -0.1 given"),
        ({"max_gradient_norm": -1.0}, "max_gradient_norm: -1.0 given; it must be above 0"),
        ({"clip_range": 0.0}, "clip_range: 0.0 given; it must be above 0"),
        ({"learning_rate": -1e-3}, "learning_rate: -0.001 given; it must not be negative"),
        ({"gae_lambda": 1.5}, "gae_lambda: 1.5 given; it must be between 0 and 1"),
        ({"kl_coeff": float("nan")}, "kl_coeff: nan given; it must be a number"),
        ({"reward_threshold": "1"}, "reward_threshold: 1 given; it must be a number"),
        ({"lora_layers": "4"}, "lora_layers: 4 given; it must be a whole number"),
        ({"lora_layers": 2.5}, "lora_layers: 2.5 given; it must be a whole number"),
        ({"seed": True}, "seed: True given; it must be a whole number"),
        ({"keep_best": "false"}, "keep_best: false given; it must be true or false"),
    ],
)
def test_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PreflowError, match=message):
        PPOConfig(**settings)


def test_the_planned_steps() -> None:
    assert PPOConfig(train_steps=3, batch_size=8, epochs=2, minibatches=4).optimizer_steps == 24


def test_the_learning_rate_warms_up_over_an_update_and_falls_to_nothing() -> None:
    config = PPOConfig(train_steps=4, batch_size=8, epochs=2, minibatches=2)
    rates = [config.rate(step) for step in range(17)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == pytest.approx([step / 12 for step in range(12, -1, -1)])
    assert PPOConfig(train_steps=1, batch_size=8, epochs=2, minibatches=2).rate(0) == 0.25


def test_weights_are_trained_whole_without_adapters() -> None:
    assert PPOConfig(lora_rank=0, top_layers=8).top_layers == 8
    assert PPOConfig(lora_rank=0).top_layers == 0


def test_options_join_the_settings() -> None:
    assert ppo_config({"lora_layers": 2}, train_steps=3) == PPOConfig(lora_layers=2, train_steps=3)
    as_kfp_hands_it_on = ppo_config({"lora_layers": 2.0, "kl_target": 6.0, "keep_best": False}, train_steps=3)
    assert as_kfp_hands_it_on == PPOConfig(lora_layers=2, kl_target=6.0, train_steps=3)
    assert isinstance(as_kfp_hands_it_on.lora_layers, int)
    with pytest.raises(PreflowError, match="lora_layers: 2.5 given; it must be a whole number"):
        ppo_config({"lora_layers": 2.5}, train_steps=3)
    with pytest.raises(PreflowError, match="ppo_options: 'train_steps' is a parameter of its own"):
        ppo_config({"train_steps": 2}, train_steps=3)
    with pytest.raises(PreflowError, match="ppo_options: 'lora_layer' is not known; choose from batch_size"):
        ppo_config({"lora_layer": 2}, train_steps=3)
