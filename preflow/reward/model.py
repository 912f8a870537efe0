"""A reward model: a number for a response to a prompt, higher is better, with a zero point.

There are two kinds, depending on the base model:

- an encoder made for sentence embeddings embeds prompt, response, and what the response adds to the words of the
  prompt. The reward is a weighted sum of the prompt's cosines with the other two, plus a linear function of the
  response's mean vector, of its last token's, which tells whether it is complete, of the differences and products of
  the mean vectors of prompt and response (Conneau et al. 2017, arXiv:1705.02364), and of what the response copies: to
  the cosine with the response alone, a copy of the prompt is the best answer. Training starts from the cosines, which
  the encoder knows already; with a few hundred pairs that beats a cross-encoder, which has to learn likeness from
  scratch.
- a causal language model reads prompt and response in its chat template. The reward is a linear function of the
  hidden state at the last real token, found by its index and never by looking for padding.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from preflow.chat import encode_prompt, last_user_turn
from preflow.errors import PreflowError
from preflow.models import autocast, device, load_backbone, load_tokenizer
from preflow.reward.overlap import OVERLAPS, overlaps
from preflow.rows import PromptText, clean
from preflow.scoring.copying import added
from preflow.writing import written_beside

Kind = Literal["encoder", "causal"]
_SETTINGS, _HEAD, _SUMMARY = "reward_model.json", "head.safetensors", "summary.json"
_INITIAL_SCALE = 10.0  # of the cosine and of overlaps: a few steps have to change what they weigh
_SCORING_BATCHES = {"cuda": 128}  # texts; a CPU does not gain from more than _SCORING_BATCH
_SCORING_BATCH = 16


class RewardModel(nn.Module):
    """A backbone and a scalar head. `zero_point` and `scale` turn raw rewards into scores.

    Attributes:
        zero_point: The raw reward of a reference answer: a score of 0 is as good as a reference.
        scale: The standard deviation of raw rewards, so that scores have about unit variance.
    """

    def __init__(
        self, reference: str, *, max_length: int, kind: Kind | None = None, dtype: torch.dtype = torch.float32
    ) -> None:
        """Loads the backbone of a base model and adds a new head. By default its architecture decides the kind."""
        super().__init__()
        self.zero_point, self.scale = 0.0, 1.0
        self.tokenizer = load_tokenizer(reference)
        self.backbone = load_backbone(reference, dtype)
        readable = getattr(self.backbone.config, "max_position_embeddings", max_length)
        self.max_length = min(max_length, self.tokenizer.model_max_length, readable)
        self.kind: Kind = kind or _kind_of(self.backbone.config)
        width = self.backbone.config.hidden_size
        self.head = nn.Linear(4 * width + OVERLAPS if self.kind == "encoder" else width, 1)
        self.likeness = nn.Parameter(torch.full((2,), _INITIAL_SCALE / 2), requires_grad=self.kind == "encoder")
        if self.kind == "encoder":
            nn.init.zeros_(self.head.weight)
        else:
            nn.init.normal_(self.head.weight, std=(width + 1) ** -0.5)  # arXiv:2009.01325, arXiv:2403.17031 detail 11
        nn.init.zeros_(self.head.bias)
        self.to(device())

    def forward(self, prompts: Sequence[PromptText], responses: Sequence[str]) -> Tensor:
        """`[B]` raw rewards, float32."""
        with autocast():
            if self.kind == "encoder":
                return self._from_embeddings([last_user_turn(prompt) for prompt in prompts], responses)
            return self._from_last_token(prompts, responses)

    @torch.no_grad()
    def score(self, prompts: Sequence[PromptText], responses: Sequence[str]) -> Tensor:
        """`[B]` scores on the CPU: raw rewards minus `zero_point`, divided by `scale`."""
        self.eval()
        answers = list(zip(map(str, prompts), responses, strict=True))
        first = {answer: row for row, answer in reversed(list(enumerate(answers)))}  # an answer in several pairs
        order = sorted(first.values(), key=lambda row: len(responses[row]))
        raw = torch.empty(len(responses))
        size = _SCORING_BATCHES.get(device().type, _SCORING_BATCH)
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            raw[rows] = self([prompts[row] for row in rows], [responses[row] for row in rows]).float().cpu()
        return (raw[[first[answer] for answer in answers]] - self.zero_point) / self.scale

    def save(self, folder: Path, summary: Mapping[str, Any] | None = None) -> None:
        """Writes weights, tokenizer, zero point, scale and the summary of the training to a folder, atomically."""
        head = {"weight": self.head.weight, "bias": self.head.bias, "likeness": self.likeness}
        settings = {name: getattr(self, name) for name in ("kind", "max_length", "zero_point", "scale")}
        with written_beside(folder) as beside:
            self.backbone.save_pretrained(beside, safe_serialization=True)
            self.tokenizer.save_pretrained(beside)
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in head.items()}, beside / _HEAD)
            (beside / _SETTINGS).write_text(json.dumps(settings, indent=2))
            if summary is not None:
                (beside / _SUMMARY).write_text(json.dumps(clean(dict(summary)), indent=2, allow_nan=False))

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype = torch.float32) -> "RewardModel":
        """Reads what `save` wrote.

        Args:
            folder: The folder.
            dtype: Type of the backbone's weights; 16 bits are enough for scoring.

        Raises:
            PreflowError: The folder holds no reward model of this version of preflow.
        """
        path = folder / _SETTINGS
        if not path.is_file():
            raise PreflowError(f"{folder}: no {_SETTINGS} there; give the folder that train-reward-model wrote")
        settings = json.loads(path.read_text())
        model = cls(str(folder), max_length=settings["max_length"], kind=settings["kind"], dtype=dtype)
        head = load_file(folder / _HEAD)
        if any(
            head[name].shape != own.shape for name, own in (("weight", model.head.weight), ("likeness", model.likeness))
        ):
            raise PreflowError(f"{folder}: a reward model of another version of preflow; train it again")
        model.head.load_state_dict({"weight": head["weight"], "bias": head["bias"]})
        model.likeness.data.copy_(head["likeness"])
        model.zero_point, model.scale = settings["zero_point"], settings["scale"]
        return model.eval()

    def _from_embeddings(self, prompts: Sequence[str], responses: Sequence[str]) -> Tensor:
        distinct = list(dict.fromkeys(prompts))
        numbers = {prompt: number for number, prompt in enumerate(distinct)}
        prompt_means, _ = self._embed(distinct)
        prompt_means = prompt_means[[numbers[prompt] for prompt in prompts]]
        response_means, response_ends = self._embed(responses)
        with torch.no_grad():  # a backward pass through the same words once more would cost more than it teaches
            added_means, _ = self._embed(list(map(added, prompts, responses)))
        copied = torch.tensor(list(map(overlaps, prompts, responses)), device=response_means.device) * _INITIAL_SCALE
        interactions = _interactions(prompt_means, response_means)
        cosines = [nn.functional.cosine_similarity(prompt_means, means) for means in (response_means, added_means)]
        likeness = (torch.stack(cosines, 1) * self.likeness).sum(1)
        return likeness + self._linear(torch.cat([response_means, response_ends, *interactions, copied], 1))

    def _embed(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Mean vectors, and vectors of the last token before the closing special one, `[B, H]` float32 each."""
        batch = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        hidden = self.backbone(**batch.to(device())).last_hidden_state.float()
        mask = batch["attention_mask"].to(hidden.device)
        mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return mean, hidden[torch.arange(len(hidden)), (mask.sum(1) - 2).clamp(min=0)]

    def _from_last_token(self, prompts: Sequence[PromptText], responses: Sequence[str]) -> Tensor:
        rows = [self._tokens(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
        lengths = torch.tensor([len(row) for row in rows], device=device())
        padding = self.tokenizer.pad_token_id
        ids = nn.utils.rnn.pad_sequence(list(map(torch.tensor, rows)), True, padding).to(device())
        mask = torch.arange(ids.shape[1], device=device()) < lengths[:, None]
        hidden = self.backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return self._linear(hidden[torch.arange(len(rows)), lengths - 1].float())

    def _linear(self, features: Tensor) -> Tensor:
        """`[B]` outputs of the head in float32: in bfloat16, scores would be rounded to steps and tie."""
        with torch.autocast(features.device.type, enabled=False):
            rewards: Tensor = self.head(features).squeeze(1)
        return rewards

    def _tokens(self, prompt: PromptText, response: str) -> list[int]:
        """Prompt, response and EOS; a text that is too long is cut at its start, so that its end is always read."""
        answer = self.tokenizer(response, add_special_tokens=False)["input_ids"]
        return [*encode_prompt(self.tokenizer, prompt), *answer, self.tokenizer.eos_token_id][-self.max_length :]


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a reward model's training; empty if the model was saved without one."""
    path = folder / _SUMMARY
    summary: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return summary


def _interactions(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Absolute differences and products of two vectors scaled to entries of about 1, `[B, H]` each."""
    length = left.shape[1] ** 0.5
    left, right = (nn.functional.normalize(vectors, dim=1) * length for vectors in (left, right))
    return (left - right).abs(), left * right


def _kind_of(config: Any) -> Kind:
    names = config.architectures or []
    return "causal" if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names) else "encoder"
