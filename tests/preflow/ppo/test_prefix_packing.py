"""Packed episodes have the results of unpacked ones."""

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from preflow.models import load_causal_lm
from preflow.ppo import prefix_packing
from preflow.ppo.policy import Critic, Policy
from preflow.ppo.prefix_packing import Episodes, Packs, assign_packs, padded_width, supports_packing, unpacked
from preflow.reward.model import RewardModel

pytestmark = pytest.mark.usefixtures("exact")
MakePolicy = Callable[..., Policy]


def episodes_of(rows: list[tuple[list[int], list[int]]]) -> Episodes:
    """Prompts padded on the left, responses on the right, with 0."""
    before, after = max(len(prompt) for prompt, _ in rows), max(len(response) for _, response in rows)
    ids = [
        [0] * (before - len(prompt)) + prompt + response + [0] * (after - len(response)) for prompt, response in rows
    ]
    prompt_mask = [[place >= before - len(prompt) for place in range(before)] for prompt, _ in rows]
    response_mask = [[place < len(response) for place in range(after)] for _, response in rows]
    return unpacked(torch.tensor(ids), torch.tensor(prompt_mask), torch.tensor(response_mask))


def shared(episodes: Episodes, tokens: int = 4096, samples: int = 4) -> Episodes:
    return dataclasses.replace(episodes, pack=assign_packs(episodes, tokens, samples))


ROWS = [
    ([1, 40, 41, 42, 43], [50, 51, 2]),
    ([1, 40, 41, 42, 43], [60, 2]),
    ([1, 40, 41, 42, 43], [80, 81, 82, 83]),
    ([1, 44, 45], [70, 71, 72, 73]),
]


def test_a_pack_holds_a_prompt_and_its_responses_which_do_not_see_each_other() -> None:
    episodes = shared(episodes_of([([7, 8], [10, 11, 2]), ([7, 8], [12, 2]), ([9], [13, 14, 2])]))
    assert episodes.pack.tolist() == [0, 0, 1]
    packs = episodes.packs
    ids = episodes.ids.flatten()[packs.tokens]  # without the last tokens, behind which nothing stands
    assert ids.shape == (2, 16), "a few widths only"
    assert ids[:, :5].tolist() == [[7, 8, 10, 11, 12], [9, 13, 14, 7, 7]]
    assert packs.positions[:, :5].tolist() == [[0, 1, 2, 3, 2], [0, 1, 2, 0, 0]]
    assert packs.attention.shape == (2, 1, 16, 16)
    assert packs.attention[0, 0, :5, :5].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert packs.slots[0, :4].tolist() == [0, 1, 2, 3]
    assert packs.slots[1, :3].tolist() == [0, 1, 4]
    assert packs.slots[2, 1:4].tolist() == [16, 17, 18]


def test_unpacked_episodes_have_a_plain_mask() -> None:
    packs = episodes_of(ROWS).packs
    assert packs.attention.shape == (4, 16)
    assert packs.attention.sum(1).tolist() == [7, 6, 8, 6]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 3), st.lists(st.integers(1, 9), min_size=1, max_size=5)),
        min_size=1,
        max_size=8,
    ),
    st.integers(1, 20),
)
def test_every_token_that_is_read_has_one_slot(choices: list[tuple[int, int, list[int]]], most: int) -> None:
    episodes = shared(episodes_of([([word] * length, response) for word, length, response in choices]), most)
    packs = episodes.packs
    followed = torch.nn.functional.pad(episodes.response_mask[:, 1:], (0, 1))
    mask = torch.cat([episodes.prompt_mask, followed], 1)
    slots = packs.tokens.flatten()[packs.slots]
    assert torch.equal(episodes.ids.flatten()[slots][mask], episodes.ids[mask])
    responses = packs.slots[:, episodes.prompt_mask.shape[1] :][followed]
    assert len(responses.unique()) == len(responses), "no two response tokens share a slot"


def packed_token_by_token(episodes: Episodes) -> Packs:
    """The packs of episodes, built plainly from lists."""
    width, total = episodes.prompt_mask.shape[1], episodes.ids.shape[1]
    numbers: dict[int, int] = {}
    tokens: list[list[int]] = []
    positions: list[list[int]] = []
    part: list[list[int]] = []  # 0 for tokens of the prompt, otherwise the number of the response, from 1
    slots: list[list[tuple[int, int]]] = []
    for row, (pack, prompt, response) in enumerate(zip(episodes.pack.tolist(), *episodes.read_lengths(), strict=True)):
        first = row * total + width  # the response's first token; the prompt ends just before it
        if pack not in numbers:
            numbers[pack] = len(numbers)
            tokens.append(list(range(first - prompt, first)))
            positions.append(list(range(prompt)))
            part.append([0] * prompt)
        number = numbers[pack]
        start = len(tokens[number])
        tokens[number] += range(first, first + response)
        positions[number] += range(prompt, prompt + response)
        part[number] += [row + 1] * response
        inside = chain([0] * (width - prompt), range(prompt), range(start, start + response))
        slots.append([(number, slot) for slot in inside] + [(number, 0)] * (total - width - response))
    length = padded_width(max(map(len, tokens)))

    def padded(rows: list[list[int]], fill: int) -> torch.Tensor:
        return torch.tensor([row + [fill] * (length - len(row)) for row in rows])

    parts, pairs = padded(part, -1), torch.tensor(slots)
    attention = parts >= 0
    if len(tokens) < len(slots):
        seen = (parts[:, :, None] == parts[:, None, :]) | (parts[:, None, :] == 0)
        attention = seen.tril()[:, None]
    return Packs(padded(tokens, 0), padded(positions, 0), attention, pairs[:, :, 0] * length + pairs[:, :, 1])


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.lists(st.integers(1, 9), min_size=1, max_size=20)),
        min_size=1,
        max_size=9,
    )
)
def test_packs_are_those_built_token_by_token(choices: list[tuple[int, int, list[int]]]) -> None:
    prompts = [[5], [6, 7], [8] * 9]
    episodes = episodes_of([(prompts[prompt], response) for prompt, _, response in choices])
    numbers = torch.tensor([10 * prompt + 7 * pack for prompt, pack, _ in choices])  # in any order, with gaps
    episodes = dataclasses.replace(episodes, pack=numbers)
    for found, expected in zip(episodes.packs, packed_token_by_token(episodes), strict=True):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_a_pack_ends_where_it_would_be_too_long_or_attention_would_cost_more_than_the_prompt() -> None:
    assert shared(episodes_of([([1] * 4, [2] * 4)] * 4), tokens=10).pack.tolist() == [0, 0, 1, 1]
    # Behind 61 tokens a fourth response costs 80^2 - 61^2 - 23^2 = 2150 pairs; the 4 tokens it saves are worth 2048.
    assert shared(episodes_of([([1] * 4, [2] * 20)] * 5), samples=5).pack.tolist() == [0, 0, 0, 1, 1]


def test_a_prompt_that_comes_twice_has_packs_for_each_time() -> None:
    assert shared(episodes_of([([7], [8])] * 4), samples=2).pack.tolist() == [0, 0, 1, 1]


def test_different_prompts_never_share_a_pack() -> None:
    episodes = episodes_of([([7, 8], [9]), ([8], [9]), ([8], [9]), ([0, 8], [9])])
    assert shared(episodes).pack.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("lora_layers", [0, 1])
def test_sharing_changes_neither_numbers_nor_gradients(make_policy: MakePolicy, lora_layers: int) -> None:
    policy = make_policy(lora_layers=lora_layers, samples_per_prompt=4)
    apart, together = episodes_of(ROWS), shared(episodes_of(ROWS))
    assert policy.assign_packs(apart, 4096).tolist() == together.pack.tolist() == [0, 0, 0, 1]
    found = []
    for episodes in (apart, together):
        policy.zero_grad()
        read = dataclasses.replace(episodes, hidden=policy.trunk.lower(episodes.ids, episodes.packs))
        outputs = policy(read)
        (outputs.logprobs.sum() + outputs.values.sum()).backward()
        with torch.no_grad():
            further = [policy(read, entropy=True).entropy, policy.reference_logprobs(read)]
        gradients = [value.grad.clone() for value in policy.parameters() if value.grad is not None]
        found.append([outputs.logprobs, outputs.values, *further, *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-3)


def test_a_separate_critic_reads_packs(policy_folder: Path, tokenizer: object, tmp_path: Path) -> None:
    RewardModel(str(policy_folder), max_length=64).save(tmp_path / "reward")
    critic = Critic(tmp_path / "reward", tokenizer)
    assert supports_packing(critic.backbone)
    with torch.no_grad():
        torch.testing.assert_close(critic(shared(episodes_of(ROWS))), critic(episodes_of(ROWS)), atol=1e-5, rtol=1e-5)


def test_with_one_sample_a_prompt_nothing_is_shared(make_policy: MakePolicy) -> None:
    assert make_policy(samples_per_prompt=1).assign_packs(episodes_of(ROWS), 4096).tolist() == [0, 1, 2, 3]


def test_a_model_with_a_sliding_window_keeps_episodes_apart(policy_folder: Path) -> None:
    from transformers import MistralConfig, MistralModel

    assert supports_packing(load_causal_lm(str(policy_folder)).model)
    config = MistralConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=4,
    )  # fmt: skip
    assert not supports_packing(MistralModel(config).eval())


def test_a_model_without_attention_keeps_episodes_apart() -> None:
    from transformers import MambaConfig, MambaModel

    config = MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=1, state_size=4, initializer_range=0.5)
    assert not supports_packing(MambaModel(config).eval())


@pytest.mark.parametrize(("error", "raised"), [("wrong shape", False), ("CUDA out of memory.", True)])
def test_out_of_memory_says_nothing_of_a_model(
    policy_folder: Path, monkeypatch: pytest.MonkeyPatch, error: str, raised: bool
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(error)

    monkeypatch.setattr(prefix_packing, "run_transformer", fail)
    model = load_causal_lm(str(policy_folder)).model
    with pytest.raises(RuntimeError, match=error) if raised else nullcontext():
        assert not supports_packing(model)
