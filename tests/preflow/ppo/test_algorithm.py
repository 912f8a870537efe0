"""Rewards, KL, advantages and losses, worked out by hand."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preflow.ppo.algorithm import (
    RewardStatistics,
    adapted,
    clipped,
    gae,
    k1,
    k3,
    leave_one_out,
    masked_mean,
    penalise_missing_eos,
    policy_loss,
    replace_nonfinite,
    token_rewards,
    value_loss,
    whiten,
)

MASK = torch.tensor([[True, True, True], [True, False, False]])
TRUE = torch.ones(1, 3, dtype=torch.bool)


def test_a_mean_is_over_all_tokens() -> None:
    assert float(masked_mean(torch.tensor([[1.0, 2.0, 3.0], [6.0, 50.0, 70.0]]), MASK)) == 3.0
    assert float(masked_mean(torch.ones(1, 2), torch.zeros(1, 2, dtype=torch.bool))) == 0.0


def test_whitening_by_hand() -> None:
    # 1, 2, 3 and 6 have mean 3 and variance (4 + 1 + 0 + 9) / 4 = 3.5.
    found = whiten(torch.tensor([[1.0, 2.0, 3.0], [6.0, 50.0, 70.0]]), MASK)
    root = 3.5**0.5
    assert found[0].tolist() == pytest.approx([-2 / root, -1 / root, 0.0])
    assert found[1].tolist() == pytest.approx([3 / root, 0.0, 0.0])


def test_equal_values_whiten_to_zero() -> None:
    assert not whiten(torch.full((2, 3), 5.0), MASK).any()


def test_kl_estimates_by_hand() -> None:
    logprobs, reference = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.0, -1.0, -0.5 - math.log(2)])
    assert k1(logprobs, reference).tolist() == pytest.approx([0.0, -1.0, math.log(2)])
    assert k3(logprobs, reference).tolist() == pytest.approx([0.0, math.e - 2, math.log(2) - 0.5])


def test_both_expect_the_divergence_and_k3_varies_less() -> None:
    policy, reference = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.4, 0.4, 0.2])
    known = float((policy * (policy / reference).log()).sum())
    for estimate in (k1, k3):
        each = estimate(policy.log(), reference.log())
        assert float((policy * each).sum()) == pytest.approx(known, abs=1e-6)
    first, third = k1(policy.log(), reference.log()), k3(policy.log(), reference.log())
    assert bool((third >= 0).all())
    assert float((policy * (third - known) ** 2).sum()) < float((policy * (first - known) ** 2).sum())


@pytest.mark.parametrize(
    ("kl", "expected"),
    [(6.0, 0.1), (6.6, 0.1 * 1.001), (60.0, 0.1 * 1.002), (0.0, 0.1 * 0.998)],  # errors of 0, 0.1, and cut at 0.2
)
def test_the_coefficient_goes_where_the_divergence_asks_it_to(kl: float, expected: float) -> None:
    assert adapted(0.1, kl, target=6.0, episodes=100, horizon=10_000) == pytest.approx(expected)


def test_without_a_target_the_coefficient_stays() -> None:
    assert adapted(0.1, 60.0, target=0.0, episodes=100, horizon=10_000) == 0.1


@pytest.mark.parametrize(("missing_eos", "expected"), [("subtract", [1.0, 1.5, -3.5]), ("replace", [1.0, -0.5, -0.5])])
def test_an_episode_without_an_end_is_punished(missing_eos: Any, expected: list[float]) -> None:
    found = penalise_missing_eos(torch.tensor([1.0, 2.0, -3.0]), torch.tensor([True, False, False]), 0.5, missing_eos)
    assert found.tolist() == expected


def test_scores_are_cut_and_the_cut_ones_counted() -> None:
    scores, share = clipped(torch.tensor([0.5, -7.0, 3.0, 2.0]), 2.0)
    assert (scores.tolist(), share) == ([0.5, -2.0, 2.0, 2.0], 0.5)
    scores, share = clipped(torch.tensor([0.5, -7.0]), 0.0)
    assert (scores.tolist(), share) == ([0.5, -7.0], 0.0)


def test_statistics_by_hand() -> None:
    found = RewardStatistics().including(torch.tensor([1.0, 3.0])).including(torch.tensor([5.0, 7.0]))
    assert (found.count, found.mean, found.squares) == (4, 4.0, 20.0)
    assert found.deviation == pytest.approx(5**0.5)
    assert RewardStatistics().deviation == RewardStatistics().including(torch.ones(3)).deviation == 1.0


@given(st.lists(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=5), min_size=1, max_size=5))
def test_statistics_do_not_depend_on_the_pieces(pieces: list[list[float]]) -> None:
    found = RewardStatistics()
    for piece in pieces:
        found = found.including(torch.tensor(piece))
    whole = RewardStatistics().including(torch.tensor([value for piece in pieces for value in piece]))
    assert found.count == whole.count
    assert found.mean == pytest.approx(whole.mean, abs=1e-4)
    assert found.squares == pytest.approx(whole.squares, abs=1e-2, rel=1e-4)


def test_the_score_stands_on_the_last_token_and_the_penalty_on_all() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    kl = torch.tensor([[1.0, -2.0, 0.5], [3.0, 9.0, 9.0]])
    found = token_rewards(torch.tensor([10.0, 20.0]), kl, mask, 0.1)
    assert found[0].tolist() == pytest.approx([-0.1, 0.2, 9.95])
    assert found[1].tolist() == pytest.approx([19.7, 0.0, 0.0])


def test_a_score_is_compared_with_the_others_of_its_prompt() -> None:
    scores = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    # 1 - (2 + 6) / 2, 2 - (1 + 6) / 2, 6 - (1 + 2) / 2; 0 - (0 + 3) / 2 twice, 3 - 0.
    assert leave_one_out(scores, 3).tolist() == [-3.0, -1.5, 4.5, -1.5, -1.5, 3.0]
    assert leave_one_out(scores, 1).tolist() == scores.tolist()


def test_a_score_that_is_no_number_counts_as_the_mean_of_the_others() -> None:
    scores = torch.tensor([1.0, math.nan, 5.0, math.inf, -math.inf])
    assert replace_nonfinite(scores).tolist() == [1.0, 3.0, 5.0, 3.0, 3.0]
    assert replace_nonfinite(torch.tensor([math.nan, math.nan])).tolist() == [0.0, 0.0]


def test_advantages_of_three_steps_by_hand() -> None:
    # gamma 0.9, lambda 0.5, values 0.5 1 2, one reward of 4 at the end:
    # delta_3 = 4 - 2 = 2; delta_2 = 0.9 * 2 - 1 = 0.8; delta_1 = 0.9 * 1 - 0.5 = 0.4
    # A_3 = 2; A_2 = 0.8 + 0.45 * 2 = 1.7; A_1 = 0.4 + 0.45 * 1.7 = 1.165
    advantages, returns = gae(torch.tensor([[0.0, 0.0, 4.0]]), torch.tensor([[0.5, 1.0, 2.0]]), TRUE, 0.9, 0.5)
    assert advantages.tolist()[0] == pytest.approx([1.165, 1.7, 2.0])
    assert returns.tolist()[0] == pytest.approx([1.665, 2.7, 4.0])


def test_nothing_outside_the_mask_counts() -> None:
    mask = torch.tensor([[True, True, False]])
    rewards, values = torch.tensor([[1.0, 3.0, 99.0]]), torch.tensor([[0.5, 2.0, 99.0]])
    advantages, returns = gae(rewards, values, mask, 1.0, 1.0)
    # The episode ends after two tokens: A_2 = 3 - 2, A_1 = 1 + 2 - 0.5 + A_2.
    assert advantages.tolist() == [[3.5, 1.0, 0.0]]
    assert returns.tolist() == [[4.0, 3.0, 0.0]]


def test_padding_on_the_right_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(4, 6, generator=generator), torch.randn(4, 6, generator=generator)
    mask = torch.arange(6) < torch.tensor([[6], [3], [1], [4]])
    padding = torch.full((4, 5), 7.0)
    plain = gae(rewards, values, mask, 0.9, 0.95)
    padded = gae(
        torch.cat([rewards, padding], 1),
        torch.cat([values, padding], 1),
        torch.cat([mask, torch.zeros(4, 5, dtype=torch.bool)], 1),
        0.9,
        0.95,
    )
    for short, long in zip(plain, padded, strict=True):
        torch.testing.assert_close(long[:, :6], short, atol=0, rtol=0)
        assert not long[:, 6:].any()


def test_rows_do_not_touch_each_other() -> None:
    rewards, values = torch.randn(3, 4), torch.randn(3, 4)
    mask = torch.arange(4) < torch.tensor([[2], [4], [1]])
    together = gae(rewards, values, mask, 0.9, 0.9)[0]
    for row in range(3):
        alone = gae(rewards[row : row + 1], values[row : row + 1], mask[row : row + 1], 0.9, 0.9)[0]
        torch.testing.assert_close(alone[0], together[row])


def test_with_lambda_1_the_return_is_what_was_collected() -> None:
    rewards, values = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[9.0, -4.0, 0.3]])
    assert gae(rewards, values, TRUE, 1.0, 1.0)[1].tolist()[0] == pytest.approx([6.0, 5.0, 3.0], abs=1e-5)


def test_the_policy_loss_by_hand() -> None:
    # Ratios 1.5, 1.5, 0.5, 0.5, 1.1 at a clip of 0.2. Only what would go on in the direction it is rewarded for is
    # clipped: the first (A > 0, up) and the fourth (A < 0, down).
    ratios, advantages = [1.5, 1.5, 0.5, 0.5, 1.1, 7.0], [1.0, -1.0, 1.0, -1.0, 2.0, 5.0]
    mask = torch.tensor([[True] * 5 + [False]])
    found = policy_loss(torch.tensor([ratios]).log(), torch.zeros(1, 6), torch.tensor([advantages]), mask, 0.2)
    assert float(found.total) == pytest.approx(-1.2 + 1.5 - 0.5 + 0.8 - 2.2)
    assert int(found.clipped) == 2


def test_a_clipped_token_has_no_gradient() -> None:
    logprobs = torch.tensor([[math.log(1.5), math.log(1.1)]], requires_grad=True)
    policy_loss(logprobs, torch.zeros(1, 2), torch.ones(1, 2), torch.ones(1, 2, dtype=torch.bool), 0.2).total.backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist()[0] == pytest.approx([0.0, -1.1])


def test_the_value_loss_by_hand() -> None:
    # Old value 0, clip 0.2. Value 0.5, return 1: (0.5)^2 against (0.2 - 1)^2: clipped. Value 0.5, return 0: 0.25
    # against 0.04. Value 0.1, return 1: no clip either way.
    mask = torch.tensor([[True, True, True, False]])
    values, returns = torch.tensor([[0.5, 0.5, 0.1, 9.0]]), torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    found = value_loss(values, torch.zeros(1, 4), returns, mask, 0.2)
    assert float(found.total) == pytest.approx(0.5 * (0.64 + 0.25 + 0.81))
    assert int(found.clipped) == 1


@pytest.mark.parametrize("outside", [math.nan, math.inf, 1e30])
def test_what_is_outside_the_mask_reaches_neither_loss_nor_gradient(outside: float) -> None:
    mask = torch.tensor([[True, False]])
    logprobs = torch.tensor([[0.1, outside]], requires_grad=True)
    old, advantages = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    loss = policy_loss(logprobs, old, advantages, mask, 0.2).total
    loss.backward()
    assert loss.item() == pytest.approx(-math.exp(0.1))
    assert logprobs.grad is not None
    assert logprobs.grad.tolist()[0] == pytest.approx([-math.exp(0.1), 0.0])
