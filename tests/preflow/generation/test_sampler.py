"""What is sampled, against plain forward passes without cache, padding or batch."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig

from preflow.chat import encode_prompt
from preflow.errors import PreflowError
from preflow.generation.sampler import Samples, joined, sample
from preflow.models import eos_ids, load_causal_lm, load_tokenizer
from tests.tiny import questions, save_other

pytestmark = pytest.mark.usefixtures("exact")
STEPS = 12


class Fixed:
    """A model that gives every token the same probability wherever it stands, and notes the batches it sees."""

    device = torch.device("cpu")
    _can_compile_fullgraph = True

    def __init__(self, *probabilities: float) -> None:
        self.logits = torch.tensor(probabilities).log()
        self.config = LlamaConfig(num_hidden_layers=0)
        self.seen: list[tuple[int, int]] = []

    def __call__(self, *, input_ids: Tensor, **_: Any) -> Any:
        self.seen.append(tuple(input_ids.shape))
        return SimpleNamespace(logits=self.logits.expand(len(input_ids), 1, -1))


@pytest.fixture
def model(policy_folder: Path) -> Any:
    return load_causal_lm(str(policy_folder))


@pytest.fixture
def tokenizer(policy_folder: Path) -> Any:
    return load_tokenizer(str(policy_folder))


@pytest.fixture
def prompts(tokenizer: Any) -> list[list[int]]:
    encoded = [encode_prompt(tokenizer, row.prompt) for row in questions(10)]
    assert len({len(prompt) for prompt in encoded}) > 4, "prompts of unequal length"
    return encoded


@pytest.fixture
def uniforms(prompts: Sequence[Any]) -> Tensor:
    return torch.rand(len(prompts), STEPS, generator=torch.Generator().manual_seed(3))


def drawn(
    model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], uniforms: Tensor, heat: float | Tensor = 1.0
) -> Samples:
    return sample(
        model,
        prompts,
        uniforms=uniforms,
        temperature=heat,
        eos_ids=eos_ids(model, tokenizer),
        pad_id=tokenizer.pad_token_id,
    )


def responses(samples: Samples) -> list[list[int]]:
    rows, lengths = samples.response_ids.tolist(), samples.lengths.tolist()
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


@torch.no_grad()
def greedy(model: Any, prompt: Sequence[int], end: int) -> list[int]:
    ids = list(prompt)
    while len(ids) < len(prompt) + STEPS and (len(ids) == len(prompt) or ids[-1] != end):
        ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def test_temperature_0_takes_what_a_plain_forward_finds_most_likely(
    model: Any, tokenizer: Any, prompts: list[list[int]], uniforms: Tensor
) -> None:
    found = responses(drawn(model, tokenizer, prompts, uniforms, heat=0.0))
    assert found == [greedy(model, prompt, tokenizer.eos_token_id) for prompt in prompts]


def test_a_row_gets_the_same_response_alone_and_in_any_batch(
    model: Any, tokenizer: Any, prompts: list[list[int]], uniforms: Tensor
) -> None:
    together = drawn(model, tokenizer, prompts, uniforms)
    assert 0 < together.stopped.sum() < len(prompts), "some rows left the batch, and some stayed"
    alone = [
        responses(drawn(model, tokenizer, [prompt], row[None]))[0]
        for prompt, row in zip(prompts, uniforms, strict=True)
    ]
    assert responses(together) == alone
    assert responses(drawn(model, tokenizer, prompts[::-1], uniforms.flip(0))) == alone[::-1]


def test_the_end_is_part_of_the_response_and_nothing_after_it_is(
    model: Any, tokenizer: Any, prompts: list[list[int]], uniforms: Tensor
) -> None:
    samples = drawn(model, tokenizer, prompts, uniforms)
    for row, response in enumerate(responses(samples)):
        assert (response[-1] == tokenizer.eos_token_id) == bool(samples.stopped[row])
        assert tokenizer.eos_token_id not in response[:-1]
        assert samples.stopped[row] or len(response) == STEPS
        length = len(response)
        assert samples.response_mask[row].tolist() == [True] * length + [False] * (STEPS - length)
        assert set(samples.response_ids[row, length:].tolist()) <= {tokenizer.pad_token_id}
        assert not samples.logprobs[row, length:].any()


def test_prompts_are_padded_on_the_left(model: Any, tokenizer: Any, prompts: list[list[int]], uniforms: Tensor) -> None:
    samples = drawn(model, tokenizer, prompts, uniforms)
    width = max(map(len, prompts))
    assert samples.ids.shape == (len(prompts), width + STEPS)
    for row, prompt in enumerate(prompts):
        assert samples.ids[row, :width][samples.prompt_mask[row]].tolist() == prompt
        assert samples.prompt_mask[row].tolist() == [False] * (width - len(prompt)) + [True] * len(prompt)


@pytest.mark.parametrize("heat", [1.0, 0.6])
def test_log_probabilities_are_those_of_a_plain_forward_at_the_temperature(
    model: Any, tokenizer: Any, prompts: list[list[int]], uniforms: Tensor, heat: float
) -> None:
    samples = drawn(model, tokenizer, prompts, uniforms, heat=heat)
    for row, (prompt, response) in enumerate(zip(prompts, responses(samples), strict=True)):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + response]), use_cache=False).logits[0, len(prompt) - 1 : -1]
        expected = (logits / heat).log_softmax(-1).gather(1, torch.tensor(response)[:, None]).squeeze(1)
        assert samples.logprobs[row, : len(response)].tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_greedy_log_probabilities_are_those_at_temperature_1(
    model: Any, tokenizer: Any, prompts: list[list[int]], uniforms: Tensor
) -> None:
    samples = drawn(model, tokenizer, prompts[:1], uniforms[:1], heat=0.0)
    with torch.no_grad():
        logits = model(torch.tensor([prompts[0]]), use_cache=False).logits[0, -1]
    assert float(samples.logprobs[0, 0]) == pytest.approx(float(logits.log_softmax(-1).max()), abs=1e-4)


@torch.no_grad()
def test_states_after_a_layer_are_those_of_a_plain_forward(
    model: Any, tokenizer: Any, prompts: list[list[int]], uniforms: Tensor
) -> None:
    repeated, numbers = [*prompts, prompts[0]], torch.cat([uniforms, uniforms[-1:]])
    ends, filler = eos_ids(model, tokenizer), tokenizer.pad_token_id
    samples = sample(model, repeated, uniforms=numbers, temperature=1.0, eos_ids=ends, pad_id=filler, layers=1)
    assert samples.states is not None
    width = samples.prompt_mask.shape[1]
    for row, (prompt, response) in enumerate(zip(repeated, responses(samples), strict=True)):
        ids = torch.tensor([prompt + response[:-1]])
        expected = model(ids, output_hidden_states=True, use_cache=False).hidden_states[1][0]
        start = width - len(prompt)
        torch.testing.assert_close(samples.states[row, start : start + ids.shape[1]], expected, atol=1e-5, rtol=1e-4)
        assert not samples.states[row, :start].any()
        assert not samples.states[row, start + ids.shape[1] :].any()
    assert drawn(model, tokenizer, prompts, uniforms).states is None


def test_rows_may_have_temperatures_of_their_own(
    model: Any, tokenizer: Any, prompts: list[list[int]], uniforms: Tensor
) -> None:
    heats = torch.tensor([(0.0, 1.0, 0.6)[row % 3] for row in range(len(prompts))])
    mixed = drawn(model, tokenizer, prompts, uniforms, heat=heats)
    for row, heat in enumerate(heats.tolist()):
        alone = drawn(model, tokenizer, [prompts[row]], uniforms[row : row + 1], heat=heat)
        length = int(alone.lengths)
        assert responses(mixed)[row] == responses(alone)[0]
        assert mixed.logprobs[row, :length].tolist() == pytest.approx(alone.logprobs[0].tolist(), abs=1e-4)


def test_a_uniform_number_picks_the_token_in_whose_interval_it_lies() -> None:
    model = Fixed(0.5, 0.25, 0.25)
    numbers = torch.tensor([[0.0], [0.49], [0.51], [0.74], [0.76], [1 - 2**-24]])
    samples = sample(model, [[1]] * 6, uniforms=numbers, temperature=1.0, eos_ids=[9], pad_id=0)
    assert samples.response_ids[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert samples.logprobs[:, 0].exp().tolist() == pytest.approx([0.5, 0.5, 0.25, 0.25, 0.25, 0.25])


@pytest.mark.parametrize("heat", [1.0, 2.0])
def test_frequencies_match_probabilities(heat: float) -> None:
    probabilities = torch.tensor([0.4, 0.3, 0.05, 0.2, 0.05])
    draws = 4000
    uniforms = torch.rand(draws, 1, generator=torch.Generator().manual_seed(0))
    samples = sample(
        Fixed(*probabilities.tolist()), [[1]] * draws, uniforms=uniforms, temperature=heat, eos_ids=[9], pad_id=0
    )
    expected = draws * (probabilities.log() / heat).softmax(0)
    observed = torch.bincount(samples.response_ids[:, 0], minlength=5)
    assert float(((observed - expected) ** 2 / expected).sum()) < 18.5  # chi-square with 4 degrees, 99.9 %


def test_rows_that_end_leave_the_batch_and_the_longest_response_sets_the_width() -> None:
    model = Fixed(0.5, 0.5)  # token 1 ends
    uniforms = torch.tensor([[0.1, 0.9, 0.1, 0.1, 0.1], [0.9, 0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.9, 0.1]])
    samples = sample(model, [[1, 1], [1], [1, 1, 1]], uniforms=uniforms, temperature=1.0, eos_ids=[1], pad_id=0)
    assert responses(samples) == [[0, 1], [1], [0, 0, 0, 1]]
    assert samples.stopped.tolist() == [True, True, True]
    assert samples.ids.shape == (3, 3 + 4)
    assert model.seen == [(3, 3), (2, 1), (1, 1), (1, 1)]


def test_joined_samples_are_padded_where_each_had_its_padding() -> None:
    yes, no = True, False
    first = Samples(
        ids=torch.tensor([[5, 6, 7]]),
        prompt_mask=torch.tensor([[yes]]),
        response_mask=torch.tensor([[yes, yes]]),
        logprobs=torch.tensor([[-1.0, -2.0]]),
        stopped=torch.tensor([yes]),
    )
    second = Samples(
        ids=torch.tensor([[9, 8, 4], [3, 8, 4]]),
        prompt_mask=torch.tensor([[no, yes], [yes, yes]]),
        response_mask=torch.tensor([[yes], [yes]]),
        logprobs=torch.tensor([[-3.0], [-4.0]]),
        stopped=torch.tensor([no, yes]),
    )
    both = joined([first, second], pad_id=9)
    assert both.ids.tolist() == [[9, 5, 6, 7], [9, 8, 4, 9], [3, 8, 4, 9]]
    assert both.prompt_mask.tolist() == [[no, yes], [no, yes], [yes, yes]]
    assert both.response_mask.tolist() == [[yes, yes], [yes, no], [yes, no]]
    assert both.logprobs.tolist() == [[-1, -2], [-3, 0], [-4, 0]]
    assert both.stopped.tolist() == [yes, no, yes]


def test_several_tokens_may_end_a_response() -> None:
    uniforms = torch.tensor([[0.1, 0.4, 0.1], [0.1, 0.9, 0.1]])
    samples = sample(Fixed(0.3, 0.3, 0.4), [[0], [0]], uniforms=uniforms, temperature=1.0, eos_ids=[1, 2], pad_id=0)
    assert responses(samples) == [[0, 1], [0, 2]]


def test_what_does_not_fit_into_the_positions_of_a_model_is_refused(tmp_path: Path) -> None:
    model = load_causal_lm(str(save_other(tmp_path, "gpt2")))
    prompts = [[5] * 10, [5] * 100]
    samples = sample(model, prompts, uniforms=torch.rand(2, 28), temperature=1.0, eos_ids=[], pad_id=0)
    assert samples.ids.shape == (2, 128)
    with pytest.raises(PreflowError, match="100 tokens and answers of up to 29 do not fit into the model's 128 positi"):
        sample(model, prompts, uniforms=torch.rand(2, 29), temperature=1.0, eos_ids=[], pad_id=0)


def test_sampling_works_in_bfloat16(policy_folder: Path, tokenizer: Any, prompts: list[list[int]]) -> None:
    model = load_causal_lm(str(policy_folder), torch.bfloat16)
    samples = drawn(model, tokenizer, prompts, torch.rand(len(prompts), STEPS))
    assert samples.logprobs.dtype == torch.float32
    assert bool((samples.logprobs[samples.response_mask] < 0).all())


def test_a_prompt_is_read_once_for_all_its_samples(
    model: Any, tokenizer: Any, prompts: list[list[int]], uniforms: Tensor
) -> None:
    fixed = Fixed(0.5, 0.5)
    sample(fixed, [[1, 1], [1], [1, 1]], uniforms=torch.full((3, 2), 0.1), temperature=1.0, eos_ids=[1], pad_id=0)
    assert fixed.seen == [(2, 2), (3, 1)]
    places = [0, 1, 0, 2, 1, 0]
    together = drawn(model, tokenizer, [prompts[place] for place in places], uniforms[:6])
    alone = [drawn(model, tokenizer, [prompts[place]], uniforms[row][None]) for row, place in enumerate(places)]
    assert responses(together) == [responses(one)[0] for one in alone]
