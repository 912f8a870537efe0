"""A critic with weights of its own: it starts as the reward model and learns what is still to come."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from preflow.errors import PreflowError
from preflow.models import device
from preflow.ppo.episodes import Episodes, place
from preflow.ppo.lines import before_responses, lay_out, run_transformer
from preflow.reward.model import RewardModel


class Critic(nn.Module):
    """The backbone of a reward model with its head, zero point and scale included (arXiv:2403.17031, detail 12)."""

    def __init__(self, reward_model: Path, tokenizer: Any, *, returns_are_scores: bool = True) -> None:
        """Takes over a reward model.

        Args:
            reward_model: Folder of a reward model on a causal language model.
            tokenizer: Of the policy; the critic reads the same tokens.
            returns_are_scores: Whether what is to be predicted is the reward model's score. Otherwise its head, which
                predicts that, gives way to one that starts at 0.

        Raises:
            PreflowError: The reward model is an encoder, or reads other tokens.
        """
        super().__init__()
        model = RewardModel.load(reward_model)
        if model.kind != "causal" or model.tokenizer.get_vocab() != tokenizer.get_vocab():
            why = "is an encoder" if model.kind != "causal" else "has another tokenizer than the policy"
            raise PreflowError(f"critic: a separate one starts as the reward model, which {why}; set critic to shared")
        self.backbone = model.backbone
        self.head = model.head
        with torch.no_grad():  # its raw rewards become scores
            self.head.bias.sub_(model.zero_point).div_(model.scale)
            self.head.weight.div_(model.scale)
            if not returns_are_scores:
                self.head.bias.zero_()
                self.head.weight.zero_()
        self.to(device())

    def forward(self, episodes: Episodes) -> Tensor:
        """`[B, T]` float32 values before each token, 0 outside the response mask."""
        lines = lay_out(episodes)
        states = run_transformer(self.backbone, lines, input_ids=episodes.ids.flatten()[lines.tokens])
        before = before_responses(states, lines, episodes)
        return place(self.head(before.float()).squeeze(1).float(), episodes.response_mask)
