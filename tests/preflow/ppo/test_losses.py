"""The clipped losses by hand."""

import math

import pytest
import torch

from preflow.ppo.losses import policy_loss, value_loss


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
