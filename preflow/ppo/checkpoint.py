"""What a PPO run needs to be resumed with a bit-identical result after it was killed.

A checkpoint is a folder of safetensors and JSON. `latest.json` names the newest one and is written last, so that a
checkpoint is either whole or absent, on a disk and in Cloud Storage alike.

A folder of checkpoints has one writer. A local one is locked while a run uses it. One in Cloud Storage is not locked:
two runs with the same inputs must not share it at the same time.
"""

import fcntl
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from preflow.errors import PreflowError
from preflow.ppo.algorithm import RewardStatistics
from preflow.ppo.policy import Policy
from preflow.ppo.processes import any_process, is_first
from preflow.uris import delete_folder, exists, fetch_folder, is_gcs, read_bytes, upload
from preflow.writing import reason, written_beside

_WEIGHTS, _MOMENTS, _RANDOM, _STATE = "weights.safetensors", "moments.safetensors", "random.safetensors", "state.json"
_KEPT, _LATEST = "kept.safetensors", "latest.json"
_SECONDS_BETWEEN_TRIES = 1.0


@dataclass
class TrainingState:
    """State of a run besides weights and optimizers.

    Attributes:
        kl_coeff: KL coefficient of the next update.
        statistics: Statistics of all scores so far.
        queue: Indices of the train prompts left in this pass.
        log: Rows of the finished updates.
        first_lengths: Lengths of the first update's answers in tokens.
        first_scores: Scores of the first update's answers.
        stop_reason: Why the run ended before its last update; '' while it continues.
        first_validation: Scores of the validation prompts before training.
        kept: Trained weights that are written instead of the last ones, if any are kept.
        kept_update: Number of updates behind them.
        best_reward: Mean score of the best policy on the validation prompts, if it is kept.
        best_kl: Its mean KL there, in nats per response.
        warnings: Warnings for the user.
    """

    kl_coeff: float
    statistics: RewardStatistics = field(default_factory=RewardStatistics)
    queue: list[int] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    first_lengths: list[float] = field(default_factory=list)
    first_scores: list[float] = field(default_factory=list)
    stop_reason: str = ""
    first_validation: dict[str, list[float]] = field(default_factory=dict)
    kept: dict[str, Tensor] = field(default_factory=dict)
    kept_update: int = 0
    best_reward: float = -math.inf
    best_kl: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @property
    def updates(self) -> int:
        """Number of updates that trained the policy; the update at which a run stops early trains nothing."""
        return len(self.log) - bool(self.stop_reason)

    def warn(self, warning: str) -> None:
        """Notes and prints a warning, the same one once."""
        if warning not in self.warnings:
            self.warnings.append(warning)
            if is_first():
                print(f"warning: {warning}", flush=True)


def save_checkpoint(
    uri: str,
    policy: Policy,
    optimizers: Sequence[torch.optim.Optimizer],
    generator: torch.Generator,
    state: TrainingState,
) -> None:
    """Writes a checkpoint under a local path or gs:// URI, then removes the previous one.

    Args:
        uri: Folder of the run's checkpoints.
        policy: Policy whose trained weights are kept.
        optimizers: Optimizers whose moments are kept.
        generator: Generator whose state is kept, along with that of torch.
        state: Everything else.
    """
    before, name = _latest(uri), f"update-{len(state.log):05d}"
    with _written(f"{uri}/{name}") as folder:
        folder.mkdir()
        save_file(trained_weights(policy), folder / _WEIGHTS)
        save_file(state.kept, folder / _KEPT)
        save_file(_copied(_moments(optimizers)), folder / _MOMENTS)
        save_file({"generator": generator.get_state(), "torch": torch.get_rng_state()}, folder / _RANDOM)
        (folder / _STATE).write_text(
            json.dumps({name: value for name, value in vars(state).items() if name != "kept"}, default=asdict)
        )
    with _written(f"{uri}/{_LATEST}") as file:
        file.write_text(json.dumps({"checkpoint": name}))
    if before and before != name:
        delete_folder(f"{uri}/{before}")


def load_checkpoint(
    uri: str, policy: Policy, optimizers: Sequence[torch.optim.Optimizer], generator: torch.Generator
) -> TrainingState | None:
    """Restores what `save_checkpoint` wrote; returns None if there is no checkpoint."""
    name = _latest(uri)
    if not name:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch_folder(f"{uri}/{name}", Path(scratch))
        noted = json.loads((folder / _STATE).read_text())
        weights, kept, moments, random = (load_file(folder / file) for file in (_WEIGHTS, _KEPT, _MOMENTS, _RANDOM))
    put_weights(policy, weights)
    _put_moments(optimizers, moments)
    generator.set_state(random["generator"])
    torch.set_rng_state(random["torch"])
    return TrainingState(**{**noted, "statistics": RewardStatistics(**noted["statistics"]), "kept": kept})


@contextmanager
def one_writer(uri: str) -> Iterator[None]:
    """Holds a local folder of checkpoints for the block, and waits first while another run holds it.

    Of several processes of one run, the first holds it and all wait. The lock is a file beside the folder, which may be
    deleted meanwhile. The kernel releases it when its process ends, however that happens.

    Raises:
        PreflowError: The lock cannot be written.
    """
    if not uri or is_gcs(uri):
        yield
        return
    path, waiting = Path(uri).with_name(f".{Path(uri).name}.lock"), False
    lock = _try_lock(path) if is_first() else None
    # Each try is a short collective: one that waited for hours would exceed the time limit of the process group.
    while not any_process(lock is not None):
        if is_first() and not waiting:
            print(f"waiting for another process that trains this policy (checkpoint {uri})", flush=True)
        waiting = True
        time.sleep(_SECONDS_BETWEEN_TRIES)
        lock = _try_lock(path) if is_first() else None
    try:
        yield
    finally:
        if lock is not None:
            with lock:  # deleted before it is released, or it could be another's by then
                path.unlink(missing_ok=True)


def _try_lock(path: Path) -> IO[str] | None:
    """An open and locked file; None if another process has it, or deleted it while it was being locked."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except (BlockingIOError, FileNotFoundError):
            pass
        file.close()
        return None
    except OSError as error:
        raise PreflowError(f"{path}: {reason(error)}") from error


@contextmanager
def _written(uri: str) -> Iterator[Path]:
    """Yields a local path; the file or folder written to it then appears at `uri` as a whole."""
    if not is_gcs(uri):
        with written_beside(Path(uri)) as beside:
            yield beside
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch) / "new"
        upload(Path(scratch) / "new", uri)


def _latest(uri: str) -> str:
    """Name of the newest checkpoint, '' if there is none."""
    latest = f"{uri}/{_LATEST}"
    return str(json.loads(read_bytes(latest))["checkpoint"]) if exists(latest) else ""


def trained_weights(policy: Policy) -> dict[str, Tensor]:
    """Copies of all trained weights on the CPU, by name."""
    return _copied({name: parameter for name, parameter in policy.named_parameters() if parameter.requires_grad})


@torch.no_grad()
def put_weights(policy: Policy, weights: Mapping[str, Tensor]) -> None:
    """Sets all trained weights to those that `trained_weights` returned."""
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
            owner, parameter, name = key.split(".")
            if int(owner) == number:
                settings["state"].setdefault(int(parameter), {})[name] = value
        optimizer.load_state_dict(settings)


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, each with memory of its own, as safetensors requires."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
