"""Several processes that share a batch (`accelerate launch`, `torchrun`): each takes its rows, and sums go over all.

No model is wrapped. Losses are divided by the tokens of all processes, so the sum of their gradients is the gradient of
one process that has the whole batch, however unevenly a minibatch is distributed.
"""

from collections.abc import Sequence

import torch
from accelerate import PartialState
from accelerate.utils import gather, reduce
from torch import Tensor, nn

from preflow.errors import PreflowError
from preflow.models import device
from preflow.ppo.config import PPOConfig


def start() -> None:
    """Joins the processes, each with its own device; call it before anything is put on a device."""
    _state()


def agree(value: int, what: str) -> None:
    """Waits for all processes and compares their values.

    Raises:
        PreflowError: The values differ.
    """
    values = gathered(torch.tensor([value], device=device())).tolist()
    if len(set(values)) > 1:
        raise PreflowError(f"{what}: the processes found {values}; give a folder that all of them share")


def any_process(value: bool) -> bool:
    """Waits for all processes; whether `value` is true in any of them."""
    return bool(summed(torch.tensor(float(value), device=device())) > 0)


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return bool(_state().is_main_process)


def own_rows(config: PPOConfig) -> slice:
    """The rows of every batch that this process samples and trains on; samples of a prompt stay together.

    Raises:
        PreflowError: A batch cannot be shared evenly.
    """
    state = _state()
    share, left = divmod(config.batch_size, state.num_processes)
    if left or share % config.samples_per_prompt:
        raise PreflowError(
            f"`batch_size`: {config.batch_size} given; {state.num_processes} processes with `samples_per_prompt` "
            f"{config.samples_per_prompt} need a multiple of {state.num_processes * config.samples_per_prompt}"
        )
    return slice(state.process_index * share, (state.process_index + 1) * share)


def gathered(rows: Tensor) -> Tensor:
    """`[B, ...]` rows of all processes, in order, from each process's own rows; shapes must agree."""
    _state()
    everything: Tensor = gather(rows.contiguous())
    return everything


def summed(values: Tensor) -> Tensor:
    """The sum over all processes."""
    _state()
    total: Tensor = reduce(values, "sum")
    return total


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replaces gradients by their sum over all processes; a missing gradient counts as 0."""
    if _state().num_processes == 1:
        return
    somewhere = summed(torch.tensor([float(one.grad is not None) for one in parameters], device=device())) > 0
    trained = [one for one, there in zip(parameters, somewhere.tolist(), strict=True) if there]
    if not trained:
        return
    flat = torch.cat([(torch.zeros_like(one) if one.grad is None else one.grad).flatten() for one in trained])
    for one, gradient in zip(trained, summed(flat).split([one.numel() for one in trained]), strict=True):  # type: ignore[no-untyped-call]
        one.grad = gradient.view_as(one)


def _state() -> PartialState:
    return PartialState(cpu=device().type == "cpu")
