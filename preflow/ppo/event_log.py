"""The training log as TensorBoard shows it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

Row = Mapping[str, Any]


@contextmanager
def event_log(folder: str, done: Sequence[Row]) -> Iterator[Callable[[Row], None]]:
    """Gives a function that writes a row of the training log as scalars, by update; without a folder it does nothing.

    Args:
        folder: Local path or gs:// URI of TensorBoard's logs.
        done: Rows of a run that goes on. They are written anew, for a run may go on in another folder; what a killed
            run logged in this one is shown no more.
    """
    if not folder:
        yield lambda row: None
        return
    from tensorboardX import SummaryWriter

    with SummaryWriter(folder, purge_step=1) as writer:

        def write(row: Row) -> None:
            for name, value in row.items():
                if name != "update":
                    writer.add_scalar(f"ppo/{name}", value, row["update"])
            writer.flush()

        for row in done:
            write(row)
        yield write
