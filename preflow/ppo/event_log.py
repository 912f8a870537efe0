"""The training log as TensorBoard shows it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

Row = Mapping[str, Any]


@contextmanager
def event_log(folder: str, done: int) -> Iterator[Callable[[Row], None]]:
    """Gives a function that writes a row of the training log as scalars, by update; without a folder it does nothing.

    Args:
        folder: Local path or gs:// URI of TensorBoard's logs.
        done: Updates that are logged already; what a killed run logged after them is shown no more.
    """
    if not folder:
        yield lambda row: None
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(folder, purge_step=done + 1) as writer:

        def write(row: Row) -> None:
            for name, value in row.items():
                if name != "update":
                    writer.add_scalar(f"ppo/{name}", value, row["update"])
            writer.flush()

        yield write
