"""A critic of its own starts as the reward model and leaves the policy alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.chat import encode_prompt
from preflow.errors import PreflowError
from preflow.ppo.config import PPOConfig
from preflow.ppo.critic import Critic
from preflow.ppo.episodes import alone
from preflow.ppo.policy import Policy
from preflow.ppo.rollout import Rollout
from preflow.ppo.update import make_optimizers, update
from preflow.reward.model import RewardModel
from preflow.rows import Prompt

pytestmark = pytest.mark.usefixtures("exact")


@pytest.fixture
def reward_folder(policy_folder: Path, tmp_path: Path) -> Path:
    """A reward model on the policy's base model, with a zero point and a scale."""
    model = RewardModel(str(policy_folder), max_length=200)
    model.head.weight.data.normal_(generator=torch.Generator().manual_seed(3))
    model.zero_point, model.scale = 0.7, 2.5
    model.save(tmp_path / "reward")
    return tmp_path / "reward"


def test_its_value_after_a_whole_answer_is_the_score(
    reward_folder: Path, tokenizer: Any, prompts: list[Prompt]
) -> None:
    answers = ["It is good.", "no"]
    rows = [
        (encode_prompt(tokenizer, row.prompt), [*tokenizer(text)["input_ids"], tokenizer.eos_token_id, 5])
        for row, text in zip(prompts, answers, strict=False)
    ]
    widths = [max(map(len, part)) for part in zip(*rows, strict=True)]
    ids = torch.tensor(
        [[0] * (widths[0] - len(first)) + first + then + [0] * (widths[1] - len(then)) for first, then in rows]
    )
    prompt_mask = torch.tensor([[place >= widths[0] - len(first) for place in range(widths[0])] for first, _ in rows])
    response_mask = torch.tensor([[place < len(then) for place in range(widths[1])] for _, then in rows])
    with torch.no_grad():
        values = Critic(reward_folder, tokenizer)(alone(ids, prompt_mask, response_mask))
    scores = RewardModel.load(reward_folder).score([row.prompt for row in prompts[:2]], answers)
    for row, (_, then) in enumerate(rows):
        assert float(values[row, len(then) - 1]) == pytest.approx(float(scores[row]), abs=1e-4)
        assert not values[row, len(then) :].any()


def test_where_returns_are_no_scores_its_head_starts_at_zero(reward_folder: Path, tokenizer: Any) -> None:
    critic = Critic(reward_folder, tokenizer, returns_are_scores=False)
    assert not critic.head.weight.any() and not critic.head.bias.any()
    assert critic.head.weight.requires_grad


def test_an_encoder_is_refused(encoder_folder: Path, tokenizer: Any, tmp_path: Path) -> None:
    RewardModel(str(encoder_folder), max_length=64).save(tmp_path / "encoder")
    with pytest.raises(PreflowError, match="critic: a separate one .* is an encoder; set critic to shared"):
        Critic(tmp_path / "encoder", tokenizer)


def test_another_tokenizer_is_refused(reward_folder: Path, tokenizer: Any) -> None:
    tokenizer.add_tokens(["<|new|>"])
    with pytest.raises(PreflowError, match="critic: .* has another tokenizer than the policy"):
        Critic(reward_folder, tokenizer)


def test_its_updates_leave_the_policy_as_it_is(
    make_policy: Callable[..., Policy],
    roll: Callable[..., Rollout],
    reward_folder: Path,
    tokenizer: Any,
    config: PPOConfig,
) -> None:
    policy = make_policy(critic=Critic(reward_folder, tokenizer))
    rollout = roll(policy)
    rollout.advantages.zero_()
    optimizers = make_optimizers(policy, config)
    assert len(optimizers) == 2
    before = {name: value.detach().clone() for name, value in policy.named_parameters()}
    update(policy, optimizers, rollout, config, torch.Generator().manual_seed(0), number=1)
    changed = {name.partition(".")[0] for name, value in policy.named_parameters() if not before[name].equal(value)}
    assert changed == {"critic"}
    with torch.no_grad():
        now = policy(rollout.episodes)
    width = now.logprobs.shape[1]
    torch.testing.assert_close(now.logprobs, rollout.logprobs[:, :width], atol=1e-5, rtol=1e-5)
    mask = rollout.mask[:, :width]
    worse, better = (
        ((values - rollout.returns[:, :width]) ** 2)[mask].mean() for values in (rollout.values[:, :width], now.values)
    )
    assert better < worse
