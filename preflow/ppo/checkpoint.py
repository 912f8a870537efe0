"""Everything that a run of PPO needs to go on where it was killed, as if nothing had happened.

A checkpoint is a folder of safetensors and JSON. `latest.json` names the newest one and is written last, so that a
checkpoint is either whole or not there, on a disk and in Cloud Storage alike.
"""

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from preflow.ppo.algorithm import RewardStatistics
from preflow.ppo.policy import Policy
from preflow.uris import delete_folder, exists, fetch_folder, is_gcs, read_bytes, upload
from preflow.writing import written_beside

_WEIGHTS, _MOMENTS, _RANDOM, _STATE = "weights.safetensors", "moments.safetensors", "random.safetensors", "state.json"
_BEST, _LATEST = "best.safetensors", "latest.json"


@dataclass
class RunState:
    """What a run knows besides weights and optimizers.

    Attributes:
        kl_coeff: Of the next update.
        statistics: Of all scores so far.
        queue: Places of the train prompts that are left of this pass.
        log: The rows of the updates that are done.
        first_lengths: Tokens of the first update's answers.
        first_scores: Their scores.
        stop_reason: Why the run ended before its last update, '' while it goes on.
        first_validation: Scores of the validation prompts before anything was learnt.
        best_update: After how many updates the policy scored best on them.
        best_reward: Its mean score.
        best: Its trained weights, if they are kept.
        warnings: What monitors said.
    """

    kl_coeff: float
    statistics: RewardStatistics = field(default_factory=RewardStatistics)
    queue: list[int] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    first_lengths: list[float] = field(default_factory=list)
    first_scores: list[float] = field(default_factory=list)
    stop_reason: str = ""
    first_validation: dict[str, list[float]] = field(default_factory=dict)
    best_update: int = 0
    best_reward: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def updates(self) -> int:
        """How many updates the policy has learnt from: nothing is learnt in the one that a run stops at."""
        return len(self.log) - bool(self.stop_reason)


def save_checkpoint(
    uri: str,
    policy: Policy,
    optimizers: Sequence[torch.optim.Optimizer],
    generator: torch.Generator,
    state: RunState,
) -> None:
    """Writes a checkpoint under a local path or gs:// URI, then removes the one before it.

    Args:
        uri: Folder of the checkpoints of one run.
        policy: Whose trained weights are kept.
        optimizers: Whose moments are kept.
        generator: Whose state is kept.
        state: Everything else.
    """
    before, name = _latest(uri), f"update-{len(state.log):05d}"
    with _written(f"{uri}/{name}") as folder:
        folder.mkdir()
        save_file(trained_weights(policy), folder / _WEIGHTS)
        save_file(state.best, folder / _BEST)
        save_file(_copied(_moments(optimizers)), folder / _MOMENTS)
        save_file({"generator": generator.get_state(), "torch": torch.get_rng_state()}, folder / _RANDOM)
        (folder / _STATE).write_text(
            json.dumps({name: value for name, value in vars(state).items() if name != "best"}, default=asdict)
        )
    with _written(f"{uri}/{_LATEST}") as file:
        file.write_text(json.dumps({"checkpoint": name}))
    if before and before != name:
        delete_folder(f"{uri}/{before}")


def load_checkpoint(
    uri: str, policy: Policy, optimizers: Sequence[torch.optim.Optimizer], generator: torch.Generator
) -> RunState | None:
    """Puts everything back as `save_checkpoint` found it. None where there is no checkpoint."""
    name = _latest(uri)
    if not name:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch_folder(f"{uri}/{name}", Path(scratch))
        kept = json.loads((folder / _STATE).read_text())
        weights, best, moments, random = (load_file(folder / file) for file in (_WEIGHTS, _BEST, _MOMENTS, _RANDOM))
    put_weights(policy, weights)
    _put_moments(optimizers, moments)
    generator.set_state(random["generator"])
    torch.set_rng_state(random["torch"])
    return RunState(**{**kept, "statistics": RewardStatistics(**kept["statistics"]), "best": best})


@contextmanager
def _written(uri: str) -> Iterator[Path]:
    """A local path to write a file or folder to, which then is at `uri` as a whole."""
    if not is_gcs(uri):
        with written_beside(Path(uri)) as beside:
            yield beside
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch) / "new"
        upload(Path(scratch) / "new", uri)


def _latest(uri: str) -> str:
    """The name of the newest checkpoint, '' where there is none."""
    place = f"{uri}/{_LATEST}"
    return str(json.loads(read_bytes(place))["checkpoint"]) if exists(place) else ""


def trained_weights(policy: Policy) -> dict[str, Tensor]:
    """Copies of all that is trained, by name, on the CPU."""
    return _copied({name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad})


@torch.no_grad()
def put_weights(policy: Policy, weights: Mapping[str, Tensor]) -> None:
    """Takes over what `trained_weights` gave."""
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(weights[name])


def _moments(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """AdamW's state by `optimizer.parameter.name`."""
    return {
        f"{number}.{parameter}.{name}": value
        for number, optimizer in enumerate(optimizers)
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def _put_moments(optimizers: Sequence[torch.optim.Optimizer], moments: Mapping[str, Tensor]) -> None:
    for number, optimizer in enumerate(optimizers):
        settings = optimizer.state_dict()
        settings["state"] = {}
        for key, value in moments.items():
            place, parameter, name = key.split(".")
            if int(place) == number:
                settings["state"].setdefault(int(parameter), {})[name] = value
        optimizer.load_state_dict(settings)


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, and each with memory of its own, as safetensors wants them."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
