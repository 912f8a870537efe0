"""Results for sampled tokens, against plain forwards of whole models, and the separate critic."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.chat import encode_prompt
from preflow.errors import PreflowError
from preflow.models import load_causal_lm
from preflow.ppo.config import PPOConfig
from preflow.ppo.policy import Critic, Policy
from preflow.ppo.prefix_packing import unpacked
from preflow.ppo.rollout import Rollout
from preflow.ppo.trunk import Trunk
from preflow.ppo.update import make_optimizers, update
from preflow.reward.model import RewardModel
from preflow.rows import Prompt
from tests.tiny import save_other, save_policy

pytestmark = pytest.mark.usefixtures("exact")
MakePolicy = Callable[..., Policy]
Roll = Callable[..., Rollout]
ByRow = Callable[..., list[torch.Tensor]]


@pytest.fixture(scope="module")
def deep_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_policy(tmp_path_factory.mktemp("models") / "deep", layers=3)


def assert_rows(found: torch.Tensor, expected: list[torch.Tensor]) -> None:
    for row, values in enumerate(expected):
        torch.testing.assert_close(found[row, : len(values)], values, atol=1e-4, rtol=1e-4)
        assert not found[row, len(values) :].any(), "0 outside the response"


@pytest.mark.parametrize("heat", [1.0, 0.7])
def test_log_probabilities_are_those_of_a_plain_forward(
    make_policy: MakePolicy, roll: Roll, by_row: ByRow, heat: float
) -> None:
    policy = make_policy(temperature=heat)
    rollout = roll(policy)
    lengths = rollout.episodes.response_mask.sum(1)
    assert len(set(lengths.tolist())) > 2, "responses of unequal length"
    with torch.no_grad():
        outputs = policy(rollout.episodes)
    assert_rows(outputs.logprobs, by_row(policy.model, rollout.episodes, heat))
    assert outputs.entropy is None


def test_values_and_entropies_are_those_before_each_token(make_policy: MakePolicy, roll: Roll) -> None:
    policy = make_policy()
    episodes = roll(policy).episodes
    width = episodes.prompt_mask.shape[1]
    with torch.no_grad():
        outputs = policy(episodes, entropy=True)
        for row in range(len(episodes.ids)):
            prompt = episodes.ids[row, :width][episodes.prompt_mask[row]]
            response = episodes.ids[row, width:][episodes.response_mask[row]]
            said = policy.model(torch.cat([prompt, response])[None], output_hidden_states=True, use_cache=False)
            before = slice(len(prompt) - 1, -1)
            values = policy.value_head(said.hidden_states[-1][0, before]).squeeze(1)
            torch.testing.assert_close(outputs.values[row, : len(response)], values, atol=1e-4, rtol=1e-4)
            entropy = torch.distributions.Categorical(logits=said.logits[0, before]).entropy()
            torch.testing.assert_close(outputs.entropy[row, : len(response)], entropy, atol=1e-4, rtol=1e-4)


def test_with_its_adapters_off_the_policy_is_its_base(
    make_policy: MakePolicy, roll: Roll, by_row: ByRow, policy_folder: Path
) -> None:
    policy = make_policy()
    rollout = roll(policy)
    base = load_causal_lm(str(policy_folder))
    with torch.no_grad():
        assert_rows(policy.reference_logprobs(rollout.episodes), by_row(base, rollout.episodes))
    assert_rows(rollout.reference, by_row(base, rollout.episodes))
    assert (rollout.reference - rollout.logprobs).abs().max() > 0.05, "the adapters change something"


def test_fresh_adapters_and_value_head_change_nothing(make_policy: MakePolicy, roll: Roll) -> None:
    rollout = roll(make_policy(fresh=True))
    torch.testing.assert_close(rollout.logprobs, rollout.reference, atol=1e-5, rtol=0)
    assert not rollout.values.any()


def test_what_is_said_of_an_episode_does_not_depend_on_the_others(make_policy: MakePolicy, roll: Roll) -> None:
    policy = make_policy()
    episodes = roll(policy).episodes
    rows = torch.tensor([5, 0, 3])
    with torch.no_grad():
        whole, found = policy(episodes, entropy=True), policy(episodes.select(rows), entropy=True)
    for before, after in zip(whole, found, strict=True):
        torch.testing.assert_close(after, before[rows], atol=1e-5, rtol=1e-5)


def test_only_the_upper_layers_learn(make_policy: MakePolicy, deep_folder: Path) -> None:
    def trained(lora_layers: int) -> set[int]:
        policy = make_policy(folder=deep_folder, lora_layers=lora_layers)
        names = [name for name, parameter in policy.model.named_parameters() if parameter.requires_grad]
        assert all("lora_" in name for name in names)
        assert len(list(policy.policy_parameters())) == len(names)
        return {int(name.partition(".layers.")[2].partition(".")[0]) for name in names}

    assert trained(1) == {2}
    assert trained(2) == {1, 2}
    assert trained(0) == trained(5) == {0, 1, 2}


def test_states_kept_of_lower_layers_change_neither_numbers_nor_gradients(
    make_policy: MakePolicy, roll: Roll, deep_folder: Path
) -> None:
    policy = make_policy(folder=deep_folder, lora_layers=1)
    kept = roll(policy, folder=deep_folder).episodes
    assert kept.hidden is not None
    assert kept.hidden.shape == (*kept.ids.shape, 32)
    kept = kept.select(torch.arange(8))
    assert kept.hidden is not None
    plain = unpacked(kept.ids, kept.prompt_mask, kept.response_mask)
    gradients = []
    for episodes in (kept, plain):
        policy.zero_grad()
        outputs = policy(episodes)
        (outputs.logprobs.sum() + outputs.values.sum()).backward()
        gradients.append([parameter.grad.clone() for parameter in policy.parameters() if parameter.requires_grad])
        width = outputs.logprobs.shape[1]
        torch.testing.assert_close(outputs.logprobs, policy(plain).logprobs[:, :width], atol=1e-5, rtol=1e-5)
    for others in gradients[1:]:
        for found, expected in zip(others, gradients[0], strict=True):
            torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        policy.reference_logprobs(kept).detach(), policy.reference_logprobs(plain).detach(), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize(("multiplier", "frozen"), [(1.0, 1), (12.0, 0)])
def test_a_model_that_treats_its_embeddings_is_not_cut(multiplier: float, frozen: int) -> None:
    from transformers import GraniteConfig, GraniteForCausalLM

    config = GraniteConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, initializer_range=0.3, embedding_multiplier=multiplier,
    )  # fmt: skip
    assert Trunk(GraniteForCausalLM(config).eval(), 1).frozen_layers == frozen


@pytest.mark.parametrize(("sliding_from", "frozen"), [(1, 0), (2, 1)])
def test_a_model_that_mixes_attention_types_is_not_cut(sliding_from: int, frozen: int) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, initializer_range=0.3, use_sliding_window=True, sliding_window=12,
        max_window_layers=sliding_from,
    )  # fmt: skip
    assert Trunk(Qwen2ForCausalLM(config).eval(), 1).frozen_layers == frozen


@pytest.mark.parametrize("adapters", [4, 0])
def test_a_model_that_caps_its_logits_is_refused(make_policy: MakePolicy, adapters: int, tmp_path: Path) -> None:
    save_other(tmp_path, "gemma2", final_logit_softcapping=30.0)
    with pytest.raises(PreflowError, match="it caps or scales its logits, which PPO cannot handle; give another model"):
        make_policy(folder=tmp_path, lora_rank=adapters)


def test_policy_and_reference_agree_in_bfloat16(
    make_policy: MakePolicy, roll: Roll, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    policy = make_policy(fresh=True)
    assert next(policy.model.get_base_model().parameters()).dtype == torch.bfloat16
    rollout = roll(policy)
    torch.testing.assert_close(rollout.logprobs, rollout.reference, atol=1e-5, rtol=0)
    assert rollout.sampler_gap < 0.1
    assert rollout.logprobs.dtype == torch.float32


def test_a_saved_policy_names_its_base(
    make_policy: MakePolicy, policy_folder: Path, tmp_path: Path, roll: Roll
) -> None:
    policy = make_policy()
    policy.save(tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("*.bin"))
    loaded: Any = load_causal_lm(str(tmp_path / "saved"))
    episodes = roll(policy).episodes
    with torch.no_grad():
        torch.testing.assert_close(loaded(episodes.ids).logits, policy.model(episodes.ids).logits, atol=1e-4, rtol=1e-4)


@pytest.fixture
def reward_folder(policy_folder: Path, tmp_path: Path) -> Path:
    """A reward model on the policy's base model, with a zero point and a scale."""
    model = RewardModel(str(policy_folder), max_length=200)
    model.head.weight.data.normal_(generator=torch.Generator().manual_seed(3))
    model.zero_point, model.scale = 0.7, 2.5
    model.save(tmp_path / "reward")
    return tmp_path / "reward"


def test_a_critics_value_after_a_whole_answer_is_the_score(
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
        values = Critic(reward_folder, tokenizer)(unpacked(ids, prompt_mask, response_mask))
    scores = RewardModel.load(reward_folder).score([row.prompt for row in prompts[:2]], answers)
    for row, (_, then) in enumerate(rows):
        assert float(values[row, len(then) - 1]) == pytest.approx(float(scores[row]), abs=1e-4)
        assert not values[row, len(then) :].any()


def test_where_returns_are_no_scores_a_critics_head_starts_at_zero(reward_folder: Path, tokenizer: Any) -> None:
    critic = Critic(reward_folder, tokenizer, returns_are_scores=False)
    assert not critic.head.weight.any() and not critic.head.bias.any()
    assert critic.head.weight.requires_grad


def test_a_critic_from_an_encoder_is_refused(encoder_folder: Path, tokenizer: Any, tmp_path: Path) -> None:
    RewardModel(str(encoder_folder), max_length=64).save(tmp_path / "encoder")
    with pytest.raises(PreflowError, match="`critic`: 'separate' .* is an encoder; set it to shared"):
        Critic(tmp_path / "encoder", tokenizer)


def test_a_critic_with_another_tokenizer_is_refused(reward_folder: Path, tokenizer: Any) -> None:
    tokenizer.add_tokens(["<|new|>"])
    with pytest.raises(PreflowError, match="`critic`: .* has another tokenizer than the policy"):
        Critic(reward_folder, tokenizer)


def test_a_separate_critics_updates_leave_the_policy_as_it_is(
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
    update(policy, optimizers, rollout, config, number=1)
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
