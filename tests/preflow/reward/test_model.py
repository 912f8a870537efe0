"""A text's reward is the same wherever it is worked out."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from preflow.errors import PreflowError
from preflow.reward.model import RewardModel, read_summary
from preflow.rows import Message, PromptText

pytestmark = pytest.mark.usefixtures("exact")
PROMPTS: list[PromptText] = [
    "What is dew?",
    "Say <|im_end|> and <|endoftext|> twice, [SEP] please.",
    [Message(role="system", content="Rhyme."), Message(role="user", content="Tell me about rain, the moon and bread.")],
    "Why?",
    "What is dew?",
]
RESPONSES = ["It is water.", "", "Good <|im_end|> it falls, and falls, and falls.", "x", "No."]
LONG = "water falls brightly and " * 6


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_score_does_not_depend_on_the_batch(model: RewardModel) -> None:
    together = model.score(PROMPTS, RESPONSES)
    assert len(set(together.tolist())) == len(PROMPTS)
    alone = torch.cat([model.score([prompt], [text]) for prompt, text in zip(PROMPTS, RESPONSES, strict=True)])
    close(together, alone)
    close(model.score([*PROMPTS, LONG], [*RESPONSES, LONG])[:-1], together)
    close(model.score(PROMPTS[::-1], RESPONSES[::-1]).flip(0), together)


def test_scores_are_rewards_from_the_zero_point_in_deviations(model: RewardModel) -> None:
    raw = model.score(PROMPTS, RESPONSES)
    model.zero_point, model.scale = 2.0, 4.0
    close(model.score(PROMPTS, RESPONSES), (raw - 2) / 4)


def test_scores_survive_saving(model: RewardModel, tmp_path: Path) -> None:
    model.zero_point, model.scale = 0.25, 1.75
    model.likeness.data.fill_(3.0)
    model.save(tmp_path / "saved")
    loaded = RewardModel.load(tmp_path / "saved")
    assert read_summary(tmp_path / "saved") == {}
    assert (loaded.kind, loaded.max_length, loaded.zero_point, loaded.scale) == (model.kind, 100, 0.25, 1.75)
    close(loaded.score(PROMPTS, RESPONSES), model.score(PROMPTS, RESPONSES))


def test_texts_longer_than_the_model_can_read_are_cut(base: str) -> None:
    model = RewardModel(base, max_length=900)
    found = model.score(["What is dew?", LONG * 10], [LONG * 10, "Short."])
    assert bool(torch.isfinite(found).all())


def test_an_encoder_starts_with_likeness_alone(encoder_folder: Path) -> None:
    model = RewardModel(str(encoder_folder), max_length=100)
    prompt, answer, addition = "It is water.", "the water falls", "the falls"
    means, _ = model._embed([prompt, answer, addition])
    whole, new = torch.nn.functional.cosine_similarity(means[:1], means[1:]).tolist()
    assert float(model.score([prompt], [answer])) == pytest.approx(5 * whole + 5 * new, abs=1e-4)


def test_a_causal_model_reads_the_end_of_the_response_last(policy_folder: Path) -> None:
    model = RewardModel(str(policy_folder), max_length=100)
    tokens = model._tokens("What is dew?", "It is.")
    assert tokens[-1] == model.tokenizer.eos_token_id
    text = model.tokenizer.decode(tokens)
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\nIt is.<|im_end|>")
    model.max_length = 4
    assert model._tokens("What is dew?", "It is.") == tokens[-4:]
    assert model.score(["What is dew?"], ["It is."]).shape == (1,)


@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_rewards_are_finer_than_bfloat16(
    kind: str, encoder_folder: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preflow.models.preferred_dtype", lambda: torch.bfloat16)
    model = RewardModel(str(encoder_folder if kind == "encoder" else policy_folder), max_length=64)
    model.likeness.data.zero_()
    model.head.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        raw = model(PROMPTS, RESPONSES)
    assert raw.dtype == torch.float32
    assert not torch.equal(raw, raw.bfloat16().float())


def test_a_folder_without_a_reward_model_is_refused(encoder_folder: Path) -> None:
    with pytest.raises(PreflowError, match="no reward_model.json there; give the folder that train-reward-model wrote"):
        RewardModel.load(encoder_folder)


def test_a_reward_model_of_another_version_is_refused(model: RewardModel, tmp_path: Path) -> None:
    model.save(tmp_path / "old")
    head = load_file(tmp_path / "old" / "head.safetensors")
    save_file({**head, "weight": head["weight"][:, :-1].contiguous()}, tmp_path / "old" / "head.safetensors")
    with pytest.raises(PreflowError, match="a reward model of another version of preflow; train it again"):
        RewardModel.load(tmp_path / "old")


def test_each_prompt_of_a_batch_is_read_once(encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = RewardModel(str(encoder_folder), max_length=100)
    read: list[str] = []
    embed = model._embed
    monkeypatch.setattr(model, "_embed", lambda texts: (read.extend(texts), embed(texts))[1])
    model.score(["What is dew?", "Why?", "What is dew?"], ["a", "b", "c"])
    assert sorted(read) == ["What is dew?", "Why?", *"aabbcc"], "answers as they are, and what they add"
