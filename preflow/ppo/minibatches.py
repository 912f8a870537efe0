"""Which episodes an optimizer step takes, and how they are cut into parts that fit into memory."""

from typing import NamedTuple

import torch
from torch import Tensor

from preflow.ppo.config import PPOConfig
from preflow.ppo.prefix_packing import Episodes, padded_width


class Minibatch(NamedTuple):
    """The episodes of an optimizer step.

    Attributes:
        rows: `[N]` int64 rows in the batch of all processes.
        microbatches: Those of them that are this process's, counted from its first row.
    """

    rows: Tensor
    microbatches: list[Tensor]


def planned_steps(episodes: Episodes, own: slice, config: PPOConfig, generator: torch.Generator) -> list[Minibatch]:
    """The minibatches of all epochs of an update.

    Args:
        episodes: This process's episodes.
        own: Their rows in the batch of all processes.
        config: Settings.
        generator: Generator of the order of prompts, in the same state in every process.
    """
    steps = []
    for rows in torch.cat([shuffled(config, generator) for _ in range(config.epochs)]).to(episodes.ids.device):
        mine = rows[(rows >= own.start) & (rows < own.stop)] - own.start
        steps.append(Minibatch(rows, microbatches(episodes, mine, config.microbatch_tokens)))
    return steps


def shuffled(config: PPOConfig, generator: torch.Generator) -> Tensor:
    """`[M, N]` int64 rows of the M minibatches of an epoch, which hold every episode once, in random order.

    All samples of a prompt are in the same minibatch, so that they can share its tokens.
    """
    prompts = torch.randperm(config.batch_size // config.samples_per_prompt, generator=generator)
    samples = torch.arange(config.samples_per_prompt)
    return (prompts[:, None] * config.samples_per_prompt + samples).view(config.minibatches, -1)


def microbatches(episodes: Episodes, rows: Tensor, tokens: int) -> list[Tensor]:
    """`rows` cut into groups of packs of similar length, each of at most `tokens` tokens with padding, or one pack.

    Episodes of one pack stay together.
    """
    members: dict[int, list[int]] = {}
    for row, pack in zip(rows.tolist(), episodes.pack[rows].tolist(), strict=True):
        members.setdefault(pack, []).append(row)
    prompts, responses = episodes.read_lengths()
    packs = [(prompts[pack[0]] + sum(responses[row] for row in pack), pack) for pack in members.values()]
    parts: list[list[int]] = []
    longest, count = 0, 0
    for length, pack in sorted(packs, key=lambda one: -one[0]):
        if not parts or (count + 1) * longest > tokens:
            parts.append([])
            longest, count = padded_width(length), 0
        parts[-1] += pack
        count += 1
    return [torch.tensor(part, device=rows.device) for part in parts]
