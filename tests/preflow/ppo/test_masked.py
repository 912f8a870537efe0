"""Means and whitening over tokens, not over rows."""

import pytest
import torch

from preflow.ppo.masked import masked_mean, whiten

MASK = torch.tensor([[True, True, True], [True, False, False]])


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
