"""Optimizer steps: how many, on what gradient, and what is left out."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from preflow.ppo.algorithm import policy_loss, value_loss
from preflow.ppo.config import PPOConfig
from preflow.ppo.minibatches import planned_steps
from preflow.ppo.policy import Policy
from preflow.ppo.rollout import Rollout
from preflow.ppo.update import UpdateStats, make_optimizers, update
from preflow.rows import Prompt
from tests.preflow.ppo.settings import replace

pytestmark = pytest.mark.usefixtures("exact")
MakePolicy = Callable[..., Policy]
Roll = Callable[..., Rollout]


class Counted(torch.optim.SGD):
    """Counts its steps."""

    taken = 0

    def step(self, closure: Any = None) -> Any:
        self.taken += 1
        return super().step(closure)


def counted(policy: Policy, rate: float = 0.0) -> Counted:
    optimizer = Counted([parameter for parameter in policy.parameters() if parameter.requires_grad], lr=rate)
    optimizer.param_groups[0]["peak_lr"] = rate
    return optimizer


def take(policy: Policy, rollout: Rollout, config: PPOConfig, rate: float = 0.0) -> tuple[UpdateStats, Counted]:
    optimizer = counted(policy, rate)
    steps = planned_steps(rollout.episodes, rollout.own, config, torch.Generator().manual_seed(0))
    stats = update(policy, [optimizer], dataclasses.replace(rollout, steps=steps), config, number=1)
    return stats, optimizer


def weights(policy: Policy) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in policy.parameters() if parameter.requires_grad]


@pytest.mark.parametrize(("epochs", "minibatches", "microbatch"), [(1, 1, 4096), (4, 1, 90), (4, 4, 1), (1, 8, 4096)])
def test_steps_taken_are_those_planned(
    make_policy: MakePolicy, roll: Roll, config: PPOConfig, epochs: int, minibatches: int, microbatch: int
) -> None:
    policy = make_policy()
    settings = replace(config, epochs=epochs, minibatches=minibatches, microbatch_tokens=microbatch)
    rollout = roll(policy)
    stats, optimizer = take(policy, rollout, settings)
    assert optimizer.taken == stats.steps == settings.optimizer_steps == epochs * minibatches
    assert (stats.skipped, stats.left_out) == (0, 0)
    assert stats.tokens == epochs * int(rollout.episodes.response_mask.sum())


def test_before_anything_is_learnt_nothing_is_clipped(make_policy: MakePolicy, roll: Roll, config: PPOConfig) -> None:
    policy = make_policy()
    row = take(policy, roll(policy), replace(config, minibatches=4, epochs=2))[0].row()
    assert row["approx_kl"] < 1e-6
    assert (row["clip_fraction"], row["value_clip_fraction"], row["skipped_steps"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("samples", "critic"), [(1, "shared"), (2, "shared"), (2, "none")])
def test_before_the_first_step_ratios_are_exactly_1_in_bfloat16(
    make_policy: MakePolicy, roll: Roll, config: PPOConfig, prompts: list[Prompt], samples: int, critic: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Larger models have other results in bfloat16 if the shape of the microbatch differs."""
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    prompts[:] = [prompts[row - row % samples] for row in range(8)]
    kind = {"samples_per_prompt": samples, "critic": critic, "gae_lambda": 1.0}
    settings = replace(config, minibatches=2, microbatch_tokens=60, epochs=2, **kind)
    policy = make_policy(without_critic=critic == "none", samples_per_prompt=samples)
    read: list[list[list[int]]] = []
    policy.register_forward_pre_hook(lambda _, given: read.append(given[0].ids.tolist()))
    rollout = roll(policy, settings=settings)
    evaluated = list(read)
    assert len(evaluated) > settings.minibatches
    read.clear()
    stats = update(policy, [counted(policy)], rollout, settings, number=1)
    assert read[: len(evaluated)] == evaluated
    assert read[len(evaluated) :] != evaluated, "the second epoch is in another order"
    assert (stats.steps, stats.approx_kl, stats.clipped, stats.value_clipped) == (4, 0.0, 0.0, 0.0)


def test_loss_and_gradient_do_not_depend_on_the_microbatch(
    make_policy: MakePolicy, roll: Roll, config: PPOConfig
) -> None:
    policy = make_policy()
    rollout = roll(policy)
    free = replace(config, max_gradient_norm=1e9)

    # By hand: one forward over everything.
    policy.zero_grad()
    episodes = rollout.episodes.select(torch.arange(8))
    outputs, mask = policy(episodes), episodes.response_mask
    by_policy = policy_loss(outputs.logprobs, rollout.logprobs, rollout.advantages, mask, free.clip_range)
    by_value = value_loss(outputs.values, rollout.values, rollout.returns, mask, free.value_clip_range)
    ((by_policy.total + free.value_coeff * by_value.total) / mask.sum()).backward()
    expected = [parameter.grad.clone() for parameter in policy.parameters() if parameter.grad is not None]
    assert expected and any(bool(gradient.any()) for gradient in expected)
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in expected))

    for size in (1, 90, 200, 4096):
        stats = take(policy, rollout, replace(free, microbatch_tokens=size))[0]
        found = [parameter.grad for parameter in policy.parameters() if parameter.grad is not None]
        for gradient, by_hand in zip(found, expected, strict=True):
            torch.testing.assert_close(gradient, by_hand, atol=1e-5, rtol=1e-3)
        row = stats.row()
        assert row["policy_loss"] == pytest.approx(by_policy.total.item() / int(mask.sum()), abs=1e-5)
        assert row["value_loss"] == pytest.approx(by_value.total.item() / int(mask.sum()), rel=1e-4)
        assert row["gradient_norm"] == pytest.approx(norm, rel=1e-3)


def test_minibatches_weigh_tokens_alike(make_policy: MakePolicy, roll: Roll, config: PPOConfig) -> None:
    policy = make_policy()
    rollout = roll(policy)
    tokens = int(rollout.episodes.response_mask.sum())
    whole = take(policy, rollout, config)[0]
    parts = take(policy, rollout, replace(config, minibatches=4, microbatch_tokens=1))[0]
    assert whole.tokens == parts.tokens == tokens
    assert parts.policy_loss == pytest.approx(whole.policy_loss, abs=1e-3)


def test_a_step_makes_rewarded_tokens_likelier(make_policy: MakePolicy, roll: Roll, config: PPOConfig) -> None:
    policy = make_policy()
    rollout = roll(policy)
    take(policy, rollout, config, rate=1e-2)
    with torch.no_grad():
        change = policy(rollout.episodes).logprobs - rollout.logprobs
    assert float((change * rollout.advantages).sum()) > 0


def test_gradients_are_scaled_down_to_their_largest_norm(
    make_policy: MakePolicy, roll: Roll, config: PPOConfig
) -> None:
    policy = make_policy()
    stats = take(policy, roll(policy), replace(config, max_gradient_norm=1e-3))[0]
    norms = [parameter.grad.norm() for parameter in policy.parameters() if parameter.grad is not None]
    assert float(torch.stack(norms).norm()) == pytest.approx(1e-3, rel=1e-2)
    assert stats.gradient_norm > 1e-3


@pytest.mark.parametrize("advantage", [math.nan, math.inf, -math.inf])
def test_a_step_whose_gradient_is_no_number_is_skipped_and_counted(
    make_policy: MakePolicy, roll: Roll, config: PPOConfig, advantage: float
) -> None:
    policy = make_policy()
    before = weights(policy)
    rollout = roll(policy)
    rollout.advantages[:, 0] = advantage
    stats, optimizer = take(policy, rollout, replace(config, minibatches=2, epochs=2), rate=1.0)
    assert (stats.steps, stats.skipped, optimizer.taken) == (0, 4, 0)
    assert stats.row()["skipped_steps"] == 4
    assert all(math.isfinite(value) for value in stats.row().values())
    for old, new in zip(before, weights(policy), strict=True):
        assert torch.equal(old, new)


def test_steps_are_left_out_once_the_policy_has_moved_far_enough(
    make_policy: MakePolicy, roll: Roll, config: PPOConfig
) -> None:
    policy = make_policy()
    rollout = roll(policy)
    settings = replace(config, epochs=4, minibatches=2)
    stats, optimizer = take(policy, rollout, replace(settings, target_kl=1e-4), rate=0.1)
    assert (stats.steps, stats.left_out, stats.skipped) == (1, 7, 0), "the second minibatch is far away"
    assert optimizer.taken == 1
    policy = make_policy()
    stats, _ = take(policy, roll(policy), replace(settings, minibatches=1, target_kl=1e-4), rate=0.1)
    assert (stats.steps, stats.left_out) == (1, 3), "the second pass begins far away"
    stats, _ = take(policy, roll(policy), replace(settings, target_kl=1e3), rate=1e-3)
    assert (stats.steps, stats.left_out) == (8, 0)


def test_while_the_critic_warms_up_the_policy_stays(make_policy: MakePolicy, roll: Roll, config: PPOConfig) -> None:
    policy = make_policy()
    rollout = roll(policy)
    before = {name: value.detach().clone() for name, value in policy.named_parameters() if value.requires_grad}
    take(policy, rollout, replace(config, train_steps=2, critic_warmup_steps=1), rate=0.1)
    changed = {name for name, value in policy.named_parameters() if name in before and not before[name].equal(value)}
    assert changed == {"value_head.weight", "value_head.bias"}


def test_without_a_critic_the_loss_is_the_policys_alone(
    make_policy: MakePolicy, roll: Roll, config: PPOConfig, prompts: list[Prompt]
) -> None:
    prompts[:] = [prompts[row - row % 2] for row in range(8)]
    settings = replace(config, critic="none", samples_per_prompt=2, gae_lambda=1.0, max_gradient_norm=1e9)
    policy = make_policy(without_critic=True)
    assert not list(policy.critic_parameters()) and not any("value" in name for name, _ in policy.named_parameters())
    rollout = roll(policy, settings=settings)

    # By hand: one forward over everything.
    episodes = rollout.episodes.select(torch.arange(8))
    outputs, mask = policy(episodes), episodes.response_mask
    assert outputs.values is None and policy.values(episodes) is None
    old, advantages = (tensor[:, : mask.shape[1]] for tensor in (rollout.logprobs, rollout.advantages))
    loss = policy_loss(outputs.logprobs, old, advantages, mask, settings.clip_range)
    (loss.total / mask.sum()).backward()
    expected = [parameter.grad.clone() for parameter in policy.policy_parameters()]
    [optimizer] = make_optimizers(policy, settings)
    assert len(optimizer.param_groups) == 1
    stats = update(policy, [counted(policy)], rollout, settings, number=1)
    for parameter, gradient in zip(policy.policy_parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-5, rtol=1e-3)
    assert stats.policy_loss == pytest.approx(float(loss.total), abs=1e-4)
    assert (stats.steps, stats.value_loss, stats.value_clipped) == (1, 0.0, 0.0)


def test_rates_follow_the_planned_steps(make_policy: MakePolicy, roll: Roll, config: PPOConfig) -> None:
    policy = make_policy()
    settings = replace(config, train_steps=3, epochs=2, minibatches=2, learning_rate=0.008, critic_learning_rate=0.08)
    [optimizer] = make_optimizers(policy, settings)
    seen: list[float] = []
    optimizer.register_step_pre_hook(lambda *_: seen.append(optimizer.param_groups[0]["lr"]))
    update(policy, [optimizer], roll(policy, settings=settings), settings, number=2)
    assert seen == pytest.approx([0.008 * rate for rate in (1.0, 7 / 8, 6 / 8, 5 / 8)])
    assert optimizer.param_groups[1]["lr"] == pytest.approx(0.08 * 5 / 8)
