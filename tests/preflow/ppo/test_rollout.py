"""What a rollout holds, by hand from its parts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from preflow.generation.sampler import decode
from preflow.ppo.algorithm import gae, leave_one_out, whiten
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Policy
from preflow.ppo.rollout import Rollout
from preflow.rows import Prompt
from tests.preflow.ppo.settings import replace

pytestmark = pytest.mark.usefixtures("exact")
MakePolicy = Callable[..., Policy]
Roll = Callable[..., Rollout]


def test_before_the_first_step_the_ratio_is_1(make_policy: MakePolicy, roll: Roll, tokenizer: Any) -> None:
    policy = make_policy()
    rollout = roll(policy)
    episodes = rollout.episodes
    width = episodes.prompt_mask.shape[1]
    assert len(set(episodes.prompt_mask.sum(1).tolist())) > 3, "prompts of unequal length"
    ends = (episodes.ids[:, :width] == tokenizer.eos_token_id).sum(1)
    assert ends.max() > ends.min() > 0, "prompts with ends in them"
    with torch.no_grad():
        again = policy(episodes).logprobs
    change = (again - rollout.logprobs)[episodes.response_mask]
    assert float((change.exp() - 1).abs().max()) < 1e-5
    assert float((change.exp() - 1 - change).mean()) < 1e-6
    assert rollout.sampler_gap < 1e-5


def test_the_sampled_end_is_learnt_and_nothing_after_it(make_policy: MakePolicy, roll: Roll, tokenizer: Any) -> None:
    rollout = roll(make_policy())
    assert 0 < rollout.stopped.sum() < len(rollout.stopped)
    width = rollout.episodes.prompt_mask.shape[1]
    for row, mask in enumerate(rollout.episodes.response_mask):
        response = rollout.episodes.ids[row, width:]
        length = int(mask.sum())
        assert mask.tolist() == [True] * length + [False] * (len(mask) - length)
        assert (int(response[length - 1]) == tokenizer.eos_token_id) == bool(rollout.stopped[row])
        for tensor in (rollout.logprobs, rollout.reference, rollout.values, rollout.advantages, rollout.returns):
            assert bool(tensor[row, :length].any())
            assert not tensor[row, length:].any()


@pytest.mark.parametrize("samples_per_prompt", [1, 2])
def test_scores_become_advantages(
    make_policy: MakePolicy, roll: Roll, letters: Any, config: PPOConfig, samples_per_prompt: int
) -> None:
    scores = [1.0, -1.0, 2.0, 0.0, 0.5, 0.25, -2.0, 1.5]
    settings = replace(
        config, kl_coeff=0.3, missing_eos_penalty=0.7, gamma=0.9, gae_lambda=0.8, samples_per_prompt=samples_per_prompt
    )
    rollout = roll(make_policy(), letters(scores=scores), settings)
    mask = rollout.mask
    assert rollout.scores.tolist() == scores
    rewards = torch.where(mask, -0.3 * (rollout.logprobs - rollout.reference), 0.0)
    final = [score - (0.0 if stopped else 0.7) for score, stopped in zip(scores, rollout.stopped, strict=True)]
    for row, score in enumerate(final):
        baseline = 0.0 if samples_per_prompt == 1 else final[row ^ 1]  # the other one of its pair
        rewards[row, int(mask[row].sum()) - 1] += score - baseline
    advantages, returns = gae(rewards, rollout.values, mask, 0.9, 0.8)
    torch.testing.assert_close(rollout.returns, returns)
    torch.testing.assert_close(rollout.advantages, whiten(advantages, mask))


def test_without_a_critic_every_token_has_its_episodes_score_less_the_mean_of_the_others(
    make_policy: MakePolicy, roll: Roll, letters: Any, config: PPOConfig, prompts: list[Prompt]
) -> None:
    """RLOO (arXiv:2402.14740, eq. 9) for two prompts with four samples each."""
    prompts[:] = [prompts[0]] * 4 + [prompts[1]] * 4
    settings = replace(
        config, critic="none", samples_per_prompt=4, gae_lambda=1.0, kl_coeff=0.0, missing_eos_penalty=0.0
    )
    judge = letters(scores=[3.0, 0.0, 0.0, 1.0, 2.0, 2.0, 2.0, 8.0])
    policy = make_policy(without_critic=True, samples_per_prompt=4)
    rollout = roll(policy, judge, settings)
    expected = [8 / 3, -4 / 3, -4 / 3, 0.0, -2.0, -2.0, -2.0, 6.0]  # 3 - 1/3, 0 - 4/3, ..., 1 - 3/3; 2 - 12/3, 8 - 6/3
    for row, advantage in enumerate(expected):
        found = rollout.returns[row][rollout.mask[row]]
        torch.testing.assert_close(found, torch.full_like(found, advantage))
    torch.testing.assert_close(rollout.advantages, whiten(rollout.returns, rollout.mask))
    assert not rollout.values.any()


def test_without_a_critic_the_kl_penalty_counts_from_a_token_to_the_end(
    make_policy: MakePolicy, roll: Roll, letters: Any, config: PPOConfig, prompts: list[Prompt]
) -> None:
    prompts[:] = [prompts[row - row % 2] for row in range(8)]
    settings = replace(config, critic="none", samples_per_prompt=2, gae_lambda=1.0, kl_coeff=0.5)
    rollout = roll(make_policy(without_critic=True, samples_per_prompt=2), letters(scores=[0.0] * 8), settings)
    kl = (rollout.logprobs - rollout.reference) * rollout.mask
    assert kl.abs().max() > 0.05
    scores = leave_one_out(torch.where(rollout.stopped, 0.0, -settings.missing_eos_penalty), 2)
    for row, mask in enumerate(rollout.mask):
        for token in range(int(mask.sum())):
            expected = float(scores[row] - 0.5 * kl[row, token:].sum())
            assert float(rollout.returns[row, token]) == pytest.approx(expected, abs=1e-5)


def test_the_reward_model_reads_prompts_with_their_responses(
    make_policy: MakePolicy, roll: Roll, tokenizer: Any, prompts: list[Prompt]
) -> None:
    seen: list[Any] = []

    class Reader:
        def score(self, given: list[Any], responses: list[str]) -> torch.Tensor:
            seen.extend(zip(given, responses, strict=True))
            return torch.zeros(len(given))

    rollout = roll(make_policy(), Reader())
    width = rollout.episodes.prompt_mask.shape[1]
    for row, (prompt, response) in enumerate(seen):
        assert prompt == prompts[row].prompt
        kept = rollout.episodes.ids[row, width:][rollout.episodes.response_mask[row]]
        assert response == tokenizer.decode(kept, skip_special_tokens=True)
        assert "<|im_end|>" not in response


def test_decoded_texts_end_where_the_response_does(
    tokenizer: Any, make_samples: Callable[..., Any], make_policy: MakePolicy
) -> None:
    samples = make_samples(make_policy(fresh=True).model, [[1, 40, 41], [1, 50]])
    texts = decode(samples, tokenizer)
    for row, text in enumerate(texts):
        ids = samples.response_ids[row][samples.response_mask[row]]
        assert text == tokenizer.decode(ids, skip_special_tokens=True).replace("\0", "")


def test_a_rollout_does_not_depend_on_the_microbatch(make_policy: MakePolicy, roll: Roll, config: PPOConfig) -> None:
    policy = make_policy()
    whole = roll(policy, settings=replace(config, microbatch_tokens=4096))
    for size in (1, 3):
        found = roll(policy, settings=replace(config, microbatch_tokens=size))
        assert torch.equal(found.episodes.ids, whole.episodes.ids)
        for name in ("logprobs", "reference", "values", "entropy", "advantages", "returns"):
            torch.testing.assert_close(getattr(found, name), getattr(whole, name), atol=1e-4, rtol=1e-4)
