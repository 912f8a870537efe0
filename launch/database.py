"""The database of a run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def run_database(home: Path, reference: str) -> Iterator[str]:
    """The database that a reference or DATABASE_URL names, or else the embedded server, started if need be.

    Args:
        home: PREFLOW_HOME, which holds the embedded server's data.
        reference: The parameter `database`.

    Yields:
        Its DSN.

    Raises:
        PreflowError: The reference is of no known kind, or the server does not start.
    """
    from preflow.embedded import embedded_postgres
    from preflow.store import database_url

    if reference or os.environ.get("DATABASE_URL"):
        yield database_url(reference)
    else:
        with embedded_postgres(home) as url:
            yield url
