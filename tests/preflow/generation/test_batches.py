"""Prompts are sampled in batches of similar length."""

from pathlib import Path

import torch

from preflow.chat import encode_prompt
from preflow.generation.batches import sample_batches
from preflow.generation.sampler import decode
from preflow.models import load_causal_lm, load_tokenizer
from tests.tiny import questions


def test_every_prompt_is_sampled_once_with_its_own_numbers_and_the_longest_come_first(
    policy_folder: Path, exact: None
) -> None:
    model, tokenizer = load_causal_lm(str(policy_folder)), load_tokenizer(str(policy_folder))
    prompts = [*questions(5), *questions(2)]
    uniforms = torch.rand(len(prompts), 4, generator=torch.Generator().manual_seed(0))
    settings = {"uniforms": lambda rows: uniforms[rows], "temperatures": [1.0] * len(prompts), "label": "answers"}
    batches = list(sample_batches(model, tokenizer, prompts, batch_size=3, **settings))
    order = [row for batch in batches for row in batch.rows]
    assert sorted(order) == list(range(7))
    assert [len(batch.rows) for batch in batches] == [3, 3, 1]
    lengths = [len(encode_prompt(tokenizer, prompts[row].prompt)) for row in order]
    assert lengths == sorted(lengths, reverse=True)
    (whole,) = sample_batches(model, tokenizer, prompts, batch_size=7, **settings)
    assert whole.rows == order
    texts = [text for batch in batches for text in decode(batch.samples, tokenizer)]
    assert texts == decode(whole.samples, tokenizer)
