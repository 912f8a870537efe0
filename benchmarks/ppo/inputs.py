"""What both sides are given: prompts of about 48 tokens, a policy, and a reward model in both libraries' forms.

The reward model is the policy's own backbone with a linear probe for a head, which tells reference answers from answers
that the policy samples: it is made in a minute, and there is something to be learnt from it.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preflow.chat import encode_prompt
from preflow.generation.sampler import decode, sample
from preflow.identity import split_of
from preflow.inputs import read_prompts
from preflow.models import eos_ids, load_causal_lm, load_tokenizer
from preflow.reward.model import RewardModel
from preflow.rows import Prompt, write_rows

POLICY, PROMPT_TOKENS, PROMPTS = "SmolLM2-135M-Instruct", 48, 64
_PROBED, _RIDGE, _RESPONSE = 192, 0.03, 64


def write_inputs(folder: Path) -> None:
    """Writes prompts, as rows and as token ids, the policy, and a reward model on it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = load_tokenizer(POLICY)
    train = [row for _, row in read_prompts("packaged:prompts") if split_of(row.prompt_id) == "train"]
    encoded = {row.prompt_id: encode_prompt(tokenizer, row.prompt) for row in train}
    by_length = sorted(train, key=lambda row: abs(len(encoded[row.prompt_id]) - PROMPT_TOKENS))
    chosen, probed = by_length[:PROMPTS], [row for row in by_length if row.reference][:_PROBED]
    write_rows(folder / "prompts.jsonl", chosen)
    (folder / "prompt_ids.json").write_text(json.dumps([encoded[row.prompt_id] for row in chosen]))
    load_causal_lm(POLICY, torch.float32).save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
    reward = RewardModel(str(folder / "policy"), max_length=256)
    _fit_head(reward, probed, _sampled([encoded[row.prompt_id] for row in probed], tokenizer))
    reward.save(folder / "reward_model")
    _save_as_classifier(reward, folder / "policy", folder / "classifier")


def _sampled(prompts: Sequence[Sequence[int]], tokenizer: Any) -> list[str]:
    model = load_causal_lm(POLICY)
    uniforms = torch.rand(len(prompts), _RESPONSE, generator=torch.Generator().manual_seed(0))
    eos = eos_ids(model, tokenizer)
    return decode(
        sample(model, prompts, uniforms=uniforms, temperature=1.0, eos_ids=eos, pad_id=tokenizer.pad_token_id),
        tokenizer,
    )


@torch.no_grad()
def _fit_head(reward: RewardModel, rows: Sequence[Prompt], answers: Sequence[str]) -> None:
    """Ridge regression of +1 for references and -1 for sampled answers; those then score 0 with a deviation of 1."""
    head, reward.head = reward.head, nn.Identity()  # type: ignore[assignment]
    prompts = [row.prompt for row in rows]
    references, sampled = (
        _features(reward, prompts, texts) for texts in ([row.reference or "" for row in rows], answers)
    )
    reward.head = head
    states = torch.cat([references, sampled])
    target = torch.cat([torch.ones(len(references)), -torch.ones(len(sampled))])
    centred = states - states.mean(0)
    products = centred.T @ centred
    weight = torch.linalg.solve(
        products + _RIDGE * products.diagonal().mean() * torch.eye(len(products)), centred.T @ target
    )
    middle = sampled.mean(0)
    weight -= middle * (middle @ weight) / (middle @ middle)  # a classifier of transformers has no bias
    head.weight.copy_(weight / (sampled @ weight).std())
    gain = (references @ head.weight[0] - sampled @ head.weight[0]).mean()
    print(f"reward model: references score {gain:.2f} higher than sampled answers", file=sys.stderr)


def _features(reward: RewardModel, prompts: Sequence[Any], answers: Sequence[str]) -> Tensor:
    parts = [reward(prompts[start : start + 16], answers[start : start + 16]) for start in range(0, len(answers), 16)]
    return torch.cat(parts).cpu()


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
