"""The estimators of the divergence by hand, and on a distribution whose divergence is known."""

import math

import pytest
import torch

from preflow.ppo.kl import adapted, k1, k3


def test_by_hand() -> None:
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
