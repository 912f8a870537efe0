"""Per-token estimators of KL(policy || reference) from samples of the policy.

J. Schulman, "Approximating KL divergence", 2020. With `r = reference - policy` log-probabilities of the sampled token:
k1 = -r is unbiased and may be negative; k3 = exp(r) - 1 - r is unbiased, never negative, and varies less.
"""

from torch import Tensor


def k1(logprobs: Tensor, reference: Tensor) -> Tensor:
    """`logprobs - reference`, any shape. In the reward its gradient is that of the true KL."""
    return logprobs - reference


def k3(logprobs: Tensor, reference: Tensor) -> Tensor:
    """`exp(reference - logprobs) - 1 - (reference - logprobs)`, any shape. For watching, not for the reward."""
    difference = reference - logprobs
    return difference.exp() - 1 - difference
