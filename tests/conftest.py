"""Fixtures that many tests share: an embedded server, and a fresh database for each test."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from preflow.embedded import embedded_postgres


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for databases: in memory where there is room, as a server that syncs to a busy disk takes seconds."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30:
        with tempfile.TemporaryDirectory(prefix="preflow-tests-", dir=memory) as folder:
            yield Path(folder)
    else:
        yield tmp_path_factory.mktemp("databases")


@pytest.fixture(scope="session")
def embedded_server(scratch: Path) -> Iterator[str]:
    """The DSN of an embedded server that lives as long as the test session."""
    with embedded_postgres(scratch / "session") as url:
        yield url


@pytest.fixture
def database_url(embedded_server: str) -> Iterator[str]:
    """The DSN of a fresh, empty database."""
    name = f"test_{uuid.uuid4().hex}"
    server = psycopg2.connect(embedded_server)
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        yield f"{embedded_server.rpartition('/')[0]}/{name}"
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    server.close()
