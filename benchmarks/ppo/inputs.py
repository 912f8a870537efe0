"""What both sides are given: prompts of about 48 tokens, a policy, and a reward model in both libraries' forms."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from preflow.chat import encode_prompt
from preflow.identity import split_of
from preflow.inputs import read_prompts
from preflow.models import load_causal_lm, load_tokenizer
from preflow.reward.model import RewardModel
from preflow.rows import write_rows

POLICY, PROMPT_TOKENS, PROMPTS = "SmolLM2-135M-Instruct", 48, 64


def write_inputs(folder: Path) -> None:
    """Writes prompts, as rows and as token ids, the policy, and a reward model on it with a random head."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(POLICY)
    train = [row for _, row in read_prompts("packaged:prompts") if split_of(row.prompt_id) == "train"]
    encoded = {row.prompt_id: encode_prompt(tokenizer, row.prompt) for row in train}
    chosen = sorted(train, key=lambda row: abs(len(encoded[row.prompt_id]) - PROMPT_TOKENS))[:PROMPTS]
    write_rows(folder / "prompts.jsonl", chosen)
    (folder / "prompt_ids.json").write_text(json.dumps([encoded[row.prompt_id] for row in chosen]))
    load_causal_lm(POLICY, torch.float32).save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
    torch.manual_seed(0)
    reward = RewardModel(str(folder / "policy"), max_length=256)
    reward.save(folder / "reward_model")
    _save_as_classifier(reward, folder / "policy", folder / "classifier")


def _save_as_classifier(reward: RewardModel, policy: Path, folder: Path) -> None:
    """The same reward model as transformers, and TRL, know it."""
    from transformers import AutoModelForSequenceClassification

    model: Any = AutoModelForSequenceClassification.from_pretrained(policy, num_labels=1, dtype=torch.float32)
    model.score.weight.data.copy_(reward.head.weight)
    model.config.pad_token_id = reward.tokenizer.pad_token_id
    model.save_pretrained(folder)
    reward.tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    write_inputs(Path(sys.argv[1]))
