"""Brings a database to the schema of this code: numbered SQL files, applied in order, once each."""

from importlib import resources

from preflow.errors import PreflowError
from preflow.store.sql import Connection, Cursor

_LOCK = 0x70726566  # "pref": the advisory lock that all migrating processes share
_OLDEST_SERVER = 130000  # xid8 and gen_random_uuid() came with PostgreSQL 13
_CREATE = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        name text PRIMARY KEY,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""


def migrate(connection: Connection) -> list[str]:
    """Applies the migrations that a database lacks, each in a transaction of its own.

    Several processes may migrate at once: they take turns at an advisory lock, and the second finds the work done. An
    up-to-date database is only read, so an account without the right to create tables can use it.

    Returns:
        Names of the applied migrations.

    Raises:
        PreflowError: The server is older than PostgreSQL 13, or the database has migrations of a newer preflow.
    """
    if connection.server_version < _OLDEST_SERVER:
        version = connection.server_version // 10000
        raise PreflowError(f"the database server is PostgreSQL {version}, which is too old; use version 13 or newer")
    known = migrations()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")
        [(exists,)] = cursor.fetchall()
        done = _applied(cursor) if exists else set()
    unknown = done - known.keys()
    if unknown:
        raise PreflowError(
            f"the database has migration '{max(unknown)}' of a newer preflow; update preflow, or use another database"
        )
    return [name for name, statements in known.items() if name not in done and _apply(connection, name, statements)]


def migrations() -> dict[str, str]:
    """Returns the SQL of the migrations of this code by name, in the order in which they are applied."""
    folder = resources.files("preflow.store") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return {file.name.removesuffix(".sql"): file.read_text(encoding="utf-8") for file in files}


def _apply(connection: Connection, name: str, statements: str) -> bool:
    with connection, connection.cursor() as cursor:
        # Held until the end of the transaction, so a killed process never leaves the lock behind.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        cursor.execute(_CREATE)
        if name in _applied(cursor):
            return False
        cursor.execute(statements)
        cursor.execute("INSERT INTO schema_migrations (name) VALUES (%s)", (name,))
    return True


def _applied(cursor: Cursor) -> set[str]:
    cursor.execute("SELECT name FROM schema_migrations")
    return {name for (name,) in cursor.fetchall()}
