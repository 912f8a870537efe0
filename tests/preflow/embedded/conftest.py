"""A home for an embedded server."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from preflow.embedded.server import stop_server


def answers(url: str) -> bool:
    """Whether a server takes connections."""
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


@pytest.fixture
def home(scratch: Path) -> Iterator[Path]:
    """A home below a folder of its own. Afterwards its server is stopped, whatever a test left behind."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        yield Path(folder) / "home"
        for cluster_folder in Path(folder).glob("*/postgres"):
            stop_server(cluster_folder)
