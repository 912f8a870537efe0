"""One server shared by all processes that use a home: the first user starts it, the last one stops it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preflow.embedded.cluster import make_cluster, make_folder, named_errors
from preflow.embedded.server import server_url, stop_server


@contextmanager
def embedded_postgres(home: Path) -> Iterator[str]:
    """Runs a PostgreSQL server on 127.0.0.1 with its data under `home/postgres`, and yields its DSN.

    Several processes may use the same home at once: they share one server, and the last one to leave stops it. A server
    whose users were killed is found and used again, then stopped by its new last user. It survives Ctrl-C in the
    terminal.
    Works for an ordinary user and for root; changes no permissions outside `home/postgres`.

    Each user holds a shared lock on `users.lock` for as long as it uses the server. Starting and stopping happen
    under an exclusive lock on `start.lock`. The system drops both when a process dies, however it dies.

    Args:
        home: `PREFLOW_HOME`; made if it is missing.

    Yields:
        `postgresql://preflow:PASSWORD@127.0.0.1:PORT/preflow`

    Raises:
        PreflowError: The folder cannot be written, the server does not start, or root may not start it here.
    """
    with named_errors(home):
        folder = make_folder(home)
        users = _open(folder / "users.lock")
    try:
        try:
            with named_errors(folder), _locked(folder / "start.lock"):
                others = not _only_user(users)
                fcntl.flock(users, fcntl.LOCK_SH)  # never waits: an exclusive lock is held only under the start lock
                make_cluster(folder)
                url = server_url(folder, others)
            yield url
        finally:
            with named_errors(folder), _locked(folder / "start.lock"):
                if _only_user(users):
                    stop_server(folder)
    finally:
        os.close(users)


def _only_user(users: int) -> bool:
    """Whether no other process uses the server. If so, the exclusive lock has been taken."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    # Descriptors of os.open are not inherited by programs that we start (PEP 446): no lock outlives its holder in them.
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
