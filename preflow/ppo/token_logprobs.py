"""Log-probabilities of given tokens from hidden states, without ever holding all logits.

The logits of a batch are by far the largest tensors of PPO: positions times vocabulary, several copies of it once a
softmax is differentiated. Here they exist for a few positions at a time. The derivative of `log p(token)` by the hidden
state is `(W[token] - p W) / temperature`, whatever follows after it, so it is worked out while the probabilities are at
hand and nothing of their size is kept for the backward pass.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

_POSITIONS_AT_ONCE = 128


def token_logprobs(hidden: Tensor, head: nn.Linear, tokens: Tensor, temperature: float) -> Tensor:
    """`[N]` float32 log-probabilities of `[N]` tokens, after `[N, H]` hidden states; differentiable by these.

    The head itself must be frozen: it gets no gradient. Sums over the vocabulary are in float32.
    """
    values: Tensor = _TokenLogprobs.apply(hidden, head.weight, head.bias, tokens, temperature)  # type: ignore[no-untyped-call]
    return values


@torch.no_grad()
def token_logprobs_and_entropy(
    hidden: Tensor, head: nn.Linear, tokens: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """The same without gradients, and the `[N]` float32 entropies of the distributions."""
    logprobs, entropies = (torch.empty(len(tokens), device=hidden.device) for _ in range(2))
    for part, logits, probabilities, normaliser in _distributions(hidden, head.weight, head.bias, temperature):
        logprobs[part] = _at(logits, tokens[part]) - normaliser
        entropies[part] = normaliser - probabilities.mul_(logits).sum(-1)
    return logprobs, entropies


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor, temperature: float
    ) -> Tensor:
        if weight.requires_grad:
            raise ValueError("the language-model head must be frozen")
        logprobs = torch.empty(len(tokens), device=hidden.device)
        derivative = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for part, logits, probabilities, normaliser in _distributions(hidden, weight, bias, temperature):
            logprobs[part] = _at(logits, tokens[part]) - normaliser
            if derivative is not None:
                expected = probabilities.to(weight.dtype) @ weight
                derivative[part] = ((weight[tokens[part]].float() - expected.float()) / temperature).to(hidden.dtype)
        ctx.save_for_backward(derivative)
        return logprobs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (derivative,) = ctx.saved_tensors
        return (gradient[:, None] * derivative).to(derivative.dtype), None, None, None, None


def _distributions(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Part by part of the positions: which, their logits, probabilities, and the logarithms of the softmax's sums.

    The sum is read off the largest probability, `exp(0) / sum`: PyTorch's softmax keeps a row in the caches, a separate
    `logsumexp` would go through memory several times more.
    """
    for start in range(0, len(hidden), _POSITIONS_AT_ONCE):
        part = slice(start, start + _POSITIONS_AT_ONCE)
        logits = nn.functional.linear(hidden[part].to(weight.dtype), weight, bias).float().div_(temperature)
        highest, place = logits.max(-1)
        probabilities = logits.softmax(-1)
        yield part, logits, probabilities, highest - _at(probabilities, place).log()


def _at(values: Tensor, places: Tensor) -> Tensor:
    return values.gather(1, places[:, None]).squeeze(1)
