"""Log-probabilities of given tokens from hidden states, without materialising all logits.

The logits of a batch, positions times vocabulary, are by far the largest tensors of PPO, and differentiating a softmax
takes several copies of them. Here they exist for a few positions at a time. The derivative of `log p(token)` by the
hidden state is `(W[token] - p W) / temperature`, whatever the loss, so the forward pass computes it while it has the
probabilities, and keeps nothing of their size for the backward pass. If the head is trained too, its gradient needs the
probabilities again, and the backward pass recomputes them.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

_POSITIONS_AT_ONCE = 256
_PARTS_PER_PRODUCT = 2  # in the backward pass: each product adds to a gradient as large as the head
_LEAST_PROBABILITY = 1e-30


def token_logprobs(hidden: Tensor, head: nn.Linear, tokens: Tensor, temperature: float, dtype: torch.dtype) -> Tensor:
    """`[N]` float32 log-probabilities of `[N]` tokens, given `[N, H]` hidden states.

    Differentiable by the hidden states, and by the head if it is trained. Products with the head are in `dtype`, sums
    over the vocabulary in float32.
    """
    values: Tensor = _TokenLogprobs.apply(hidden, head.weight, head.bias, tokens, temperature, dtype)  # type: ignore[no-untyped-call]
    return values


@torch.no_grad()
def token_logprobs_and_entropy(
    hidden: Tensor, head: nn.Linear, tokens: Tensor, temperature: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """`[N]` float32 log-probabilities as by `token_logprobs`, and entropies of the distributions; no gradients."""
    logprobs, entropies = (torch.empty(len(tokens), device=hidden.device) for _ in range(2))
    weight, bias = _head_in(dtype, head.weight, head.bias)
    for part, logits, probabilities in _distributions(hidden, weight, bias, temperature):
        logprobs[part] = _logprobs(logits, probabilities, tokens[part])
        normaliser = _at(logits, tokens[part]) - logprobs[part]  # H = log Z - E[logit]
        entropies[part] = normaliser - probabilities.mul_(logits).sum(-1)
    return logprobs, entropies


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        tokens: Tensor,
        temperature: float,
        dtype: torch.dtype,
    ) -> Tensor:
        ctx.temperature, ctx.dtype = temperature, dtype
        logprobs = torch.empty(len(tokens), device=hidden.device)
        derivative = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        weight, bias = _head_in(dtype, weight, bias)
        ctx.save_for_backward(derivative, hidden, weight, bias, tokens)
        for part, logits, probabilities in _distributions(hidden, weight, bias, temperature):
            logprobs[part] = _logprobs(logits, probabilities, tokens[part])
            if derivative is not None:
                # d log p(token) / d hidden = (W[token] - sum_v p(v) W[v]) / temperature: as large as the hidden states,
                # so it can be kept where the probabilities cannot.
                expected = probabilities.to(weight.dtype) @ weight
                derivative[part] = ((weight[tokens[part]].float() - expected.float()) / temperature).to(hidden.dtype)
        return logprobs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
        derivative, hidden, weight, bias, tokens = ctx.saved_tensors
        by_hidden = None if derivative is None else (gradient[:, None] * derivative).to(derivative.dtype)
        by_weight, by_bias = (
            torch.zeros(one.shape, device=one.device) if needed else None
            for one, needed in zip((weight, bias), ctx.needs_input_grad[1:3], strict=True)
        )
        if by_weight is not None or by_bias is not None:
            # d log p(token) / d logits = (onehot(token) - p) / temperature, here times the incoming gradient. It is
            # built in the memory of the recomputed probabilities, and several parts share a product with the states.
            scaled = gradient / ctx.temperature
            step = _POSITIONS_AT_ONCE * _PARTS_PER_PRODUCT
            by_logits = torch.empty(min(step, len(hidden)), len(weight), dtype=ctx.dtype, device=hidden.device)
            for start in range(0, len(hidden), step):
                some = slice(start, start + step)
                count = len(hidden[some])
                for part, _, by_part in _distributions(hidden[some], weight, bias, ctx.temperature):
                    factors = scaled[some][part, None]
                    by_part.mul_(-factors).scatter_add_(1, tokens[some][part, None], factors)
                    by_logits[:count][part] = by_part
                if by_weight is not None:
                    by_weight += by_logits[:count].T @ hidden[some].to(ctx.dtype)
                if by_bias is not None:
                    by_bias += by_logits[:count].sum(0, dtype=torch.float32)
        return by_hidden, by_weight, by_bias, None, None, None


def _head_in(dtype: torch.dtype, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    return weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)


def _distributions(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yields, part by part: the positions, their `[n, V]` logits, and their `[n, V]` float32 probabilities.

    All parts have about the same size and share the same memory, so use one before asking for the next.
    """
    if not len(hidden):
        return
    size = -(-len(hidden) // -(-len(hidden) // _POSITIONS_AT_ONCE))  # as many parts as needed, of equal size
    all_logits = torch.empty(size, len(weight), dtype=weight.dtype, device=hidden.device)
    all_probabilities = torch.empty(size, len(weight), device=hidden.device)
    for start in range(0, len(hidden), size):
        part = slice(start, min(start + size, len(hidden)))
        rows = slice(0, part.stop - start)
        logits = torch.mm(hidden[part].to(weight.dtype), weight.T, out=all_logits[rows])
        if bias is not None:
            logits += bias
        if temperature != 1:
            logits = logits.float().div_(temperature)
        yield part, logits, torch.softmax(logits, -1, dtype=torch.float32, out=all_probabilities[rows])


def _logprobs(logits: Tensor, probabilities: Tensor, tokens: Tensor) -> Tensor:
    """`[N]` float32 log-probabilities of tokens.

    PyTorch's softmax keeps a row in the caches; a further `log_softmax` or `logsumexp` would read all logits again from
    memory. That is done only if a probability is too small for its logarithm to be exact.
    """
    chosen = _at(probabilities, tokens)
    if bool((chosen > _LEAST_PROBABILITY).all()):
        return chosen.log()
    return _at(logits, tokens) - logits.float().logsumexp(-1)


def _at(values: Tensor, indices: Tensor) -> Tensor:
    """`[N]` float32 elements of `[N, V]` values."""
    return values.gather(1, indices[:, None]).squeeze(1).float()
