"""Means and whitening over the places that hold a token."""

from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of `values` where `mask` is true: the sum over the global number of tokens, not a mean of row means."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """`values` shifted and scaled to mean 0 and (biased) variance 1 over `mask`, and 0 outside it.

    The biased variance is the one of OpenAI's code; TRL's was unbiased (arXiv:2403.17031, detail on whitening).
    """
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    return (values - mean) * (variance + 1e-8).rsqrt() * mask
