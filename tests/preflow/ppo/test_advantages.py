"""Advantages worked out by hand."""

import pytest
import torch

from preflow.ppo.advantages import gae

TRUE = torch.ones(1, 3, dtype=torch.bool)


def test_three_steps_by_hand() -> None:
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
