"""KL(policy || reference): per-token estimators from samples of the policy, and how hard it is penalised.

J. Schulman, "Approximating KL divergence", 2020. With `r = reference - policy` log-probabilities of the sampled token:
k1 = -r is unbiased and may be negative; k3 = exp(r) - 1 - r is unbiased, never negative, and varies less.
"""

from torch import Tensor

_LARGEST_ERROR = 0.2


def k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """`logprobs - reference`, any shape. In the reward its gradient is that of the true KL."""
    return logprobs - reference


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """`exp(reference - logprobs) - 1 - (reference - logprobs)`, any shape. For watching, not for the reward."""
    difference = reference - logprobs
    return difference.exp() - 1 - difference


def adapted(kl_coeff: float, kl: float, target: float, episodes: int, horizon: int) -> float:
    """The coefficient of the next update, raised where `kl` is above `target` and lowered where it is below.

    `kl_coeff * (1 + clip(kl / target - 1, -0.2, 0.2) * episodes / horizon)`, arXiv:1909.08593, section 2.2.

    Args:
        kl_coeff: Of the update that ends.
        kl: Mean nats a response of its episodes.
        target: Wished nats a response; 0 leaves the coefficient as it is.
        episodes: Of the update.
        horizon: Episodes over which the coefficient may change by a fifth.
    """
    if target == 0:
        return kl_coeff
    error = max(-_LARGEST_ERROR, min(_LARGEST_ERROR, kl / target - 1))
    return kl_coeff * (1 + error * episodes / horizon)
