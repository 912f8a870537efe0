"""Which episodes an optimizer step takes, and how they are cut."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preflow.ppo.config import PPOConfig
from preflow.ppo.minibatches import microbatches, shuffled
from preflow.ppo.policy import Policy
from preflow.ppo.prefix_packing import assign_packs, unpacked
from preflow.ppo.rollout import Rollout

pytestmark = pytest.mark.usefixtures("exact")
MakePolicy = Callable[..., Policy]
Roll = Callable[..., Rollout]


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5), st.integers(0, 9))
def test_an_epoch_has_every_episode_once_and_the_samples_of_a_prompt_in_one_minibatch(
    count: int, prompts: int, samples: int, seed: int
) -> None:
    config = PPOConfig(batch_size=count * prompts * samples, samples_per_prompt=samples, minibatches=count)
    rows = shuffled(config, torch.Generator().manual_seed(seed))
    assert rows.shape == (count, prompts * samples)
    assert rows.flatten().sort().values.tolist() == list(range(config.batch_size))
    for minibatch in rows.tolist():
        groups = [minibatch[start : start + samples] for start in range(0, len(minibatch), samples)]
        assert all(group == list(range(group[0], group[0] + samples)) for group in groups)
        assert all(group[0] % samples == 0 for group in groups)


def test_prompts_are_in_another_order_in_every_epoch() -> None:
    config, generator = PPOConfig(batch_size=64, samples_per_prompt=4, minibatches=4), torch.Generator().manual_seed(0)
    assert not torch.equal(shuffled(config, generator), shuffled(config, generator))


def test_at_the_defaults_a_pass_over_minibatches_reads_no_more_tokens_than_one_over_the_whole_batch() -> None:
    config = PPOConfig()
    prompt, response = 48, 50
    mask = torch.ones(config.batch_size, prompt + response, dtype=torch.bool)
    ids = (torch.arange(config.batch_size) // config.samples_per_prompt)[:, None] * mask
    episodes = unpacked(ids, mask[:, :prompt], mask[:, prompt:])
    episodes = dataclasses.replace(
        episodes, pack=assign_packs(episodes, config.microbatch_tokens, config.samples_per_prompt)
    )

    def padded(rows: torch.Tensor) -> int:
        parts = microbatches(episodes, rows, config.microbatch_tokens)
        return sum(episodes.select(part).packs.tokens.numel() for part in parts)

    whole = padded(torch.arange(config.batch_size))
    assert sum(map(padded, shuffled(config, torch.Generator().manual_seed(0)))) == whole == 16 * 256


@pytest.mark.parametrize("tokens", [1, 100, 200, 4096])
def test_microbatches_hold_every_row_once_longest_first(make_policy: MakePolicy, roll: Roll, tokens: int) -> None:
    episodes = roll(make_policy()).episodes
    rows = torch.tensor([6, 1, 4, 3, 0])
    parts = microbatches(episodes, rows, tokens)
    for part in parts:
        assert len(part) == 1 or episodes.select(part).packs.tokens.numel() <= tokens
    for part, following in pairwise(parts):
        fuller = episodes.select(torch.cat([part, following[:1]]))
        assert fuller.packs.tokens.numel() > tokens, "a part ends only where the next row does not fit"
    fewest, most = {1: (5, 5), 100: (2, 4), 200: (2, 4), 4096: (1, 1)}[tokens]
    assert fewest <= len(parts) <= most
    found = torch.cat(parts)
    assert sorted(found.tolist()) == sorted(rows.tolist())
    lengths = (episodes.prompt_mask.sum(1) + episodes.response_mask.sum(1))[found]
    assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)
