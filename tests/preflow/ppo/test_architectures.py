"""Whole PPO runs of models that are not like Llama."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from preflow.models import load_causal_lm, load_tokenizer
from preflow.ppo import PPOConfig, ppo_optimize, trainer
from preflow.ppo.policy import Policy
from preflow.reward.model import RewardModel
from tests.preflow.ppo.settings import replace
from tests.tiny import OTHERS, save_other

pytestmark = pytest.mark.usefixtures("exact")
WINDOW = 12


@pytest.fixture(params=list(OTHERS))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return save_other(tmp_path / request.param, request.param)


@pytest.mark.parametrize("ways", [{"lora_layers": 3}, {"lora_rank": 0}], ids=str)
def test_a_run_trains_what_it_samples_and_writes_what_it_trained(
    folder: Path,
    ways: dict[str, int],
    config: PPOConfig,
    letters: Any,
    prompt_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[Policy] = []

    def policy(*given: Any) -> Policy:
        trained.append(Policy(*given))
        return trained[-1]

    monkeypatch.setattr(RewardModel, "load", lambda *_: letters())
    monkeypatch.setattr(trainer, "Policy", policy)
    ppo_optimize(
        prompts=prompt_file(12),
        model=str(folder),
        reward_model=tmp_path,
        output=tmp_path / "tuned",
        training_log=tmp_path / "log.jsonl",
        config=replace(config, train_steps=2, samples_per_prompt=4, target_sequence_length=20, **ways),
    )
    first, second = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert max(first["sampler_gap"], second["sampler_gap"]) < 1e-5
    assert first["kl"] == pytest.approx(0, abs=1e-4)
    assert abs(second["kl"]) > 1e-3, "something was learnt"

    ids = torch.tensor([load_tokenizer(str(folder))("Why do people like the morning train? It is good.")["input_ids"]])
    assert ids.shape[1] > WINDOW
    with torch.no_grad():
        again, base = (load_causal_lm(str(one))(ids).logits for one in (tmp_path / "tuned", folder))
        torch.testing.assert_close(again, trained[0].model(ids).logits, atol=1e-4, rtol=1e-4)
    assert (again - base).abs().max() > 1e-2
