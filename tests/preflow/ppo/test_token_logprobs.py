"""Log-probabilities in parts, against all logits at once."""

import pytest
import torch
from torch import Tensor, nn

from preflow.ppo import token_logprobs as module
from preflow.ppo.token_logprobs import token_logprobs, token_logprobs_and_entropy

POSITIONS, WIDTH, VOCABULARY = 11, 6, 50


@pytest.fixture(params=[1, 4, 11, 100])
def _parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POSITIONS_AT_ONCE", request.param)


def inputs(dtype: torch.dtype = torch.float32, bias: bool = False) -> tuple[Tensor, nn.Linear, Tensor]:
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, VOCABULARY, bias=bias).requires_grad_(False).to(dtype)
    return torch.randn(POSITIONS, WIDTH).to(dtype).requires_grad_(), head, torch.randint(0, VOCABULARY, (POSITIONS,))


def whole(hidden: Tensor, head: nn.Linear, tokens: Tensor, heat: float) -> Tensor:
    return (head(hidden).float() / heat).log_softmax(-1).gather(1, tokens[:, None]).squeeze(1)


@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize("heat", [1.0, 0.7])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_all_logits_at_once(heat: float, bias: bool) -> None:
    hidden, head, tokens = inputs(bias=bias)
    upstream = torch.linspace(-1, 2, POSITIONS)
    expected = whole(hidden, head, tokens, heat)
    (gradient,) = torch.autograd.grad(expected, hidden, upstream)
    found = token_logprobs(hidden, head, tokens, heat, torch.float32)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.autograd.grad(found, hidden, upstream)[0], gradient, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("_parts")
def test_entropies_are_those_of_the_distributions() -> None:
    hidden, head, tokens = inputs()
    logprobs, entropies = token_logprobs_and_entropy(hidden, head, tokens, 0.7, torch.float32)
    torch.testing.assert_close(logprobs, whole(hidden, head, tokens, 0.7).detach())
    expected = torch.distributions.Categorical(logits=head(hidden).detach() / 0.7).entropy()
    torch.testing.assert_close(entropies, expected, atol=1e-5, rtol=1e-5)


def test_an_all_but_impossible_token_has_a_finite_log_probability() -> None:
    head = nn.Linear(1, 2, bias=False).requires_grad_(False)
    head.weight.copy_(torch.tensor([[200.0], [0.0]]))
    hidden = torch.ones(1, 1, requires_grad=True)
    found = token_logprobs(hidden, head, torch.tensor([1]), 1.0, torch.float32)
    assert float(found) == pytest.approx(-200.0)
    assert float(torch.autograd.grad(found.sum(), hidden)[0]) == pytest.approx(-200.0)


def test_sums_over_the_vocabulary_are_in_float32() -> None:
    """4,096 equal logits: a sum in bfloat16 would stand still at 256."""
    head = nn.Linear(1, 4096, bias=False).requires_grad_(False).bfloat16()
    head.weight.fill_(1.0)
    found = token_logprobs(torch.ones(1, 1).bfloat16(), head, torch.tensor([5]), 1.0, torch.bfloat16)
    assert float(found) == pytest.approx(-8.317766, abs=1e-5)  # -log 4096


def test_bfloat16_gradients_are_close_to_those_in_float32() -> None:
    hidden, head, tokens = inputs(torch.bfloat16)
    exact, exact_head, _ = inputs()
    exact_head.weight.copy_(head.weight)
    exact = hidden.detach().float().requires_grad_()
    expected = torch.autograd.grad(whole(exact, exact_head, tokens, 1.0).sum(), exact)[0]
    found = torch.autograd.grad(token_logprobs(hidden, head, tokens, 1.0, torch.bfloat16).sum(), hidden)[0]
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.02, rtol=0.02)


@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize("heat", [1.0, 0.7])
@pytest.mark.parametrize("bias", [True, False])
def test_a_head_that_is_trained_gets_the_gradient_of_all_logits_at_once(
    heat: float, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PARTS_PER_PRODUCT", 2)
    hidden, head, tokens = inputs(bias=bias)
    trained = [hidden, *head.requires_grad_(True).parameters()]
    upstream = torch.linspace(-1, 2, POSITIONS)
    expected = torch.autograd.grad(whole(hidden, head, tokens, heat), trained, upstream)
    found = torch.autograd.grad(token_logprobs(hidden, head, tokens, heat, torch.float32), trained, upstream)
    for gradient, by_hand in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, by_hand, atol=1e-5, rtol=1e-5)


def test_the_gradient_of_a_trained_head_is_in_its_own_dtype() -> None:
    hidden, head, tokens = inputs()
    head.requires_grad_(True)
    (expected,) = torch.autograd.grad(whole(hidden, head, tokens, 1.0).sum(), [head.weight])
    (found,) = torch.autograd.grad(token_logprobs(hidden, head, tokens, 1.0, torch.bfloat16).sum(), [head.weight])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)
