"""Settings that contradict each other are refused."""

import subprocess
import sys
from typing import Any

import pytest

from preflow.errors import PreflowError
from preflow.ppo.algorithm import adapted
from preflow.ppo.config import PPOConfig
from preflow.ppo.reward_parts import check, fitted


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_steps": 0}, "`train_steps`: 0 given; it must be greater than or equal to 1"),
        ({"lora_rank": -1}, "`lora_rank`: -1 given"),
        ({"microbatch_tokens": 0}, "`microbatch_tokens`: 0 given"),
        ({"train_steps": 20_001}, "`train_steps`: 20001 given; it must be less than or equal to 20000"),
        (
            {"top_layers": 4},
            "`top_layers`: 4 given; it must be 0 while adapters .`lora_rank` 16. leave the",
        ),
        ({"critic": "no"}, "`critic`: 'no' given; it must be 'shared', 'separate' or 'none'"),
        (
            {"critic": "none", "samples_per_prompt": 1},
            "`samples_per_prompt`: 1 given; it must be above 1 while `critic` is none",
        ),
        ({"critic": "none", "critic_warmup_steps": 1}, "`critic_warmup_steps`: 1 given; it must be 0 while `critic`"),
        ({"critic": "none", "gae_lambda": 0.95}, "`gae_lambda`: 0.95 given; it must be 1 while `critic` is none"),
        ({"missing_eos": "drop"}, "`missing_eos`: 'drop' given; it must be 'subtract' or 'replace'"),
        ({"kl_target": 6.0, "kl_coeff": 0.0}, "`kl_target`: 6.0 given; it needs a `kl_coeff` above 0"),
        (
            {"critic_warmup_steps": 13},
            "`critic_warmup_steps`: 13 given; it must be below `train_steps`, 13",
        ),
        ({"target_kl": -1.0}, "`target_kl`: -1.0 given; it must be greater than or equal to 0"),
        (
            {"batch_size": 10, "samples_per_prompt": 1, "minibatches": 4},
            "`minibatches`: 4 given; it must divide the number of prompts, `batch_size` / `samples_per_prompt` = 10",
        ),
        (
            {"batch_size": 32, "samples_per_prompt": 16, "minibatches": 4},
            "`minibatches`: 4 given; it must divide the number of prompts, .* = 2",
        ),
        (
            {"batch_size": 10, "samples_per_prompt": 4, "minibatches": 2},
            "`samples_per_prompt`: 4 given; it must",
        ),
        ({"temperature": 0.0}, "`temperature`: 0.0 given; it must be greater than 0"),
        ({"kl_coeff": -0.1}, "`kl_coeff`: -0.1 given"),
        ({"max_gradient_norm": -1.0}, "`max_gradient_norm`: -1.0 given; it must be greater than 0"),
        ({"clip_range": 0.0}, "`clip_range`: 0.0 given; it must be greater than 0"),
        ({"learning_rate": -1e-3}, "`learning_rate`: -0.001 given; it must be greater than or equal to 0"),
        ({"gae_lambda": 1.5}, "`gae_lambda`: 1.5 given; it must be less than or equal to 1"),
        ({"kl_coeff": float("nan")}, "`kl_coeff`: nan given; it must be a finite number"),
        ({"reward_threshold": "1"}, "`reward_threshold`: '1' given; it must be a valid number"),
        ({"lora_layers": "4"}, "`lora_layers`: '4' given; it must be a valid integer"),
        ({"lora_layers": 2.5}, "`lora_layers`: 2.5 given; it must be a valid integer"),
        ({"seed": True}, "`seed`: True given; it must be a valid integer"),
        ({"keep_best": True, "eval_steps": 0}, "`keep_best`: True given; it needs `eval_steps` above 0"),
        ({"keep_best": "false"}, "`keep_best`: 'false' given; it must be a valid boolean"),
    ],
)
def test_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PreflowError, match=message):
        PPOConfig(**settings)


def test_the_planned_steps() -> None:
    assert PPOConfig(train_steps=3, batch_size=16, epochs=2, minibatches=4).optimizer_steps == 24


def test_the_learning_rate_warms_up_over_an_update_and_falls_to_nothing() -> None:
    config = PPOConfig(train_steps=4, batch_size=8, epochs=2, minibatches=2)
    rates = [config.rate(step) for step in range(17)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == pytest.approx([step / 12 for step in range(12, -1, -1)])
    assert PPOConfig(train_steps=1, batch_size=8, epochs=2, minibatches=2).rate(0) == 0.25


@pytest.mark.parametrize(
    ("settings", "policy", "critic"),
    [
        ({}, 1e-3, 1e-3),
        ({"lora_rank": 0}, 3e-6, 1e-3),
        ({"lora_rank": 0, "top_layers": 2}, 3e-6, 1e-3),
        ({"critic": "separate"}, 1e-3, 1e-5),
        ({"lora_rank": 0, "critic": "separate", "learning_rate": 0.5, "critic_learning_rate": 0.25}, 0.5, 0.25),
    ],
)
def test_learning_rates_fit_what_is_trained(settings: dict[str, Any], policy: float, critic: float) -> None:
    config = PPOConfig(**settings)
    assert (config.policy_rate, config.critic_rate) == (policy, critic)


@pytest.mark.parametrize(
    ("weights", "given", "normalized"),
    [
        ({"reward_model": 1.0, "scorer:relevance": 2.0}, None, False),
        ({"reward_model": 1.0, "function:module:name": 0.5}, None, True),
        ({"classifier:some/model#good": 1.0}, None, True),
        ({"reward_model": 1.0, "function:module:name": 0.0}, None, False),
        ({"function:module:name": 1.0}, False, False),
        ({"reward_model": 1.0}, True, True),
    ],
)
def test_rewards_of_an_unknown_unit_are_normalized_by_default(
    weights: dict[str, float], given: bool | None, normalized: bool
) -> None:
    config = PPOConfig.of({"ppo_options": {"normalize_reward": given}})
    assert fitted(config, weights) == PPOConfig(normalize_reward=normalized)


def test_weights_are_trained_whole_without_adapters() -> None:
    assert PPOConfig(lora_rank=0, top_layers=8).top_layers == 8
    assert PPOConfig(lora_rank=0).top_layers == 0


def test_options_join_the_settings() -> None:
    assert PPOConfig.of({"ppo_options": {"lora_layers": 2}, "train_steps": 3}) == PPOConfig(
        lora_layers=2, train_steps=3
    )
    as_kfp_hands_it_on = PPOConfig.of(
        {"ppo_options": {"lora_layers": 2.0, "kl_target": 6.0, "keep_best": False}, "train_steps": 3}
    )
    assert as_kfp_hands_it_on == PPOConfig(lora_layers=2, kl_target=6.0, train_steps=3)
    assert isinstance(as_kfp_hands_it_on.lora_layers, int)
    with pytest.raises(PreflowError, match="`lora_layers`: 2.5 given; it must be a valid integer"):
        PPOConfig.of({"ppo_options": {"lora_layers": 2.5}, "train_steps": 3})
    with pytest.raises(PreflowError, match="`ppo_options`: 'train_steps' is a parameter of its own"):
        PPOConfig.of({"ppo_options": {"train_steps": 2}, "train_steps": 3})
    with pytest.raises(PreflowError, match="`ppo_options`: 'lora_layer' is not known; choose from target_seq"):
        PPOConfig.of({"ppo_options": {"lora_layer": 2}, "train_steps": 3})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": -1.0}, "`learning_rate`: -1.0 given"),
        ({"ppo_options": {"lora_layer": 2}}, "`ppo_options`: 'lora_layer' is not known"),
        ({"ppo_options": {"seed": 1}, "seed": 2}, "`ppo_options`: 'seed' is a parameter of its own"),
        ({"reward_weights": {"reward_modle": 1.0}}, "`reward_weights`: 'reward_modle' is not known"),
        ({"monitors": ["beauty"]}, "metric 'beauty' is not known"),
        ({"reward_weights": {"scorer:relevance": 1.0}, "monitors": ["relevance"]}, "`monitors`: 'relevance' is part"),
    ],
)
def test_arguments_of_the_step_are_checked(arguments: dict[str, Any], message: str) -> None:
    valid = {"seed": 1, "model": "other", "ppo_options": {"lora_layers": 2.0}, "monitors": ["relevance"]}
    check(valid)
    with pytest.raises(PreflowError, match=message):
        check({**valid, **arguments})


def test_checking_settings_needs_no_torch() -> None:
    program = "import sys, preflow.ppo.reward_parts; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.PIPE).stdout == b"False\n"


def test_every_setting_is_described() -> None:
    assert all(field.description for field in PPOConfig.model_fields.values())


def test_the_horizon_of_an_adaptive_kl_fits_the_run() -> None:
    config = PPOConfig(train_steps=13, batch_size=32)
    assert config.horizon == 41.6
    coefficient = 0.02
    for _ in range(13):  # twice the target throughout: each update raises it by 0.2 * 32 / 41.6, about 15 %
        coefficient = adapted(coefficient, 12.0, 6.0, config.batch_size, config.horizon)
    assert coefficient == pytest.approx(0.02 * (1 + 0.2 * 32 / 41.6) ** 13)
    assert coefficient > 0.12
    assert PPOConfig(kl_horizon=10_000).horizon == 10_000
