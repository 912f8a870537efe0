"""Answers to evaluation prompts, and the divergence of two models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.chat import encode_prompt
from preflow.evaluation.answering import answer, kl_per_response
from preflow.evaluation.base_config import AnswerSettings
from preflow.generation.batches import uniforms_of
from preflow.generation.sampler import sample
from preflow.identity import digest_json
from preflow.models import load_causal_lm, load_tokenizer
from preflow.rows import Prompt, Reply
from tests.tiny import questions, save_policy

pytestmark = pytest.mark.usefixtures("exact")
TOKENS = 10


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same architecture and tokenizer with other weights."""
    return save_policy(tmp_path_factory.mktemp("models") / "other", seed=1)


@pytest.fixture
def base(policy_folder: Path) -> Any:
    return load_causal_lm(str(policy_folder))


@pytest.fixture
def tuned(other_folder: Path) -> Any:
    return load_causal_lm(str(other_folder))


@pytest.fixture
def tokenizer(policy_folder: Path) -> Any:
    return load_tokenizer(str(policy_folder))


@pytest.fixture
def prompts() -> list[Prompt]:
    return questions(10)


def answers(model: Any, tokenizer: Any, prompts: Sequence[Prompt], **given: Any) -> list[Reply]:
    temperature = given.pop("temperature", 0.0)
    settings: dict[str, Any] = {"target_sequence_length": TOKENS // 2, "batch_size": 4}
    config = AnswerSettings(**{**settings, **given})
    return answer("answers", model, tokenizer, prompts, [temperature], config)[temperature]


@torch.no_grad()
def test_answers_come_in_the_order_of_the_prompts(base: Any, tokenizer: Any, prompts: list[Prompt]) -> None:
    replies = answers(base, tokenizer, prompts)
    for prompt, reply in zip(prompts, replies, strict=True):
        ids = encode_prompt(tokenizer, prompt.prompt)
        start = len(ids)
        while len(ids) < start + TOKENS and (len(ids) == start or ids[-1] != tokenizer.eos_token_id):
            ids.append(int(base(torch.tensor([ids])).logits[0, -1].argmax()))
        reason = "stop" if ids[-1] == tokenizer.eos_token_id else "length"
        text = tokenizer.decode(ids[start:], skip_special_tokens=True).replace("\0", "")
        made = {"temperature": 0.0, "response": text, "tokens": len(ids) - start, "finish_reason": reason}
        assert reply == Reply(**prompt.model_dump(), **made)


def test_the_batch_does_not_matter_to_the_most_likely_answers(base: Any, tokenizer: Any, prompts: list[Prompt]) -> None:
    found = answers(base, tokenizer, prompts)
    assert answers(base, tokenizer, prompts, batch_size=1) == found
    assert answers(base, tokenizer, prompts[::-1], batch_size=100)[::-1] == found


def test_a_seed_decides_what_is_sampled(base: Any, tokenizer: Any, prompts: list[Prompt]) -> None:
    first = answers(base, tokenizer, prompts, temperature=1.0)
    assert answers(base, tokenizer, prompts, temperature=1.0) == first
    assert answers(base, tokenizer, prompts[3:], temperature=1.0) == first[3:], "whatever else is answered"
    assert answers(base, tokenizer, prompts, temperature=1.0, seed=1) != first


def test_answers_at_several_temperatures_are_those_at_each(base: Any, tokenizer: Any, prompts: list[Prompt]) -> None:
    config = AnswerSettings(target_sequence_length=TOKENS // 2, batch_size=7)
    found = answer("answers", base, tokenizer, prompts, [0.0, 1.0, 0.5], config)
    for temperature in (0.0, 1.0, 0.5):
        assert found[temperature] == answers(base, tokenizer, prompts, temperature=temperature)
    assert found[0.0] != found[1.0]


@torch.no_grad()
def test_the_divergence_is_summed_over_vocabulary_and_positions(
    base: Any, tuned: Any, tokenizer: Any, prompts: list[Prompt]
) -> None:
    temperature = 0.7
    config = AnswerSettings(target_sequence_length=TOKENS, batch_size=100, seed=5)
    found = kl_per_response(tuned, base, tokenizer, prompts, temperature, config)
    encoded = [encode_prompt(tokenizer, row.prompt) for row in prompts]
    uniforms = torch.stack([uniforms_of(digest_json([row.prompt_id, 5]), TOKENS) for row in prompts])
    samples = sample(
        tuned, encoded, uniforms=uniforms, temperature=temperature, eos_ids=[tokenizer.eos_token_id], pad_id=0
    )
    by_hand = {}
    for row, prompt in enumerate(encoded):
        response = samples.response_ids[row][samples.response_mask[row]].tolist()
        ids = torch.tensor([prompt + response])
        said, meant = (
            (model(ids).logits[0, len(prompt) - 1 : -1] / temperature).log_softmax(-1) for model in (tuned, base)
        )
        by_hand[tuple(prompt)] = float((said.exp() * (said - meant)).sum())
    expected = [by_hand[tuple(encode_prompt(tokenizer, row.prompt))] for row in prompts]
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert min(found) > 0
    assert len({round(value, 3) for value in found}) == len(found)


def test_a_model_does_not_diverge_from_itself(base: Any, tokenizer: Any, prompts: list[Prompt]) -> None:
    config = AnswerSettings(target_sequence_length=TOKENS, batch_size=3)
    found = kl_per_response(base, base, tokenizer, prompts, 1.0, config)
    assert found == pytest.approx([0.0] * len(prompts), abs=1e-6)
