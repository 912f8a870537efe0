from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from preflow.errors import PreflowError
from preflow.store import Connection, connect
from preflow.store.migrate import migrate, migrations


def test_migrations_are_numbered_without_gaps() -> None:
    assert [int(name[:4]) for name in migrations()] == list(range(1, len(migrations()) + 1))


def test_applied_once_and_recorded(database_url: str) -> None:
    connection = psycopg2.connect(database_url)
    assert migrate(connection) == list(migrations())
    assert migrate(connection) == []
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM schema_migrations ORDER BY name")
        assert [name for (name,) in cursor.fetchall()] == list(migrations())
    connection.close()


def test_safe_at_once(database_url: str) -> None:
    connections = [psycopg2.connect(database_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        applied = [name for names in pool.map(migrate, connections) for name in names]
    assert sorted(applied) == list(migrations())
    for connection in connections:
        connection.close()


def test_failed_migration_leaves_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"0001_good": "CREATE TABLE good (x int)", "0002_bad": "CREATE TABLE bad (x int); SELECT 1 / 0"}
    monkeypatch.setattr("preflow.store.migrate.migrations", lambda: broken)
    connection = psycopg2.connect(database_url)
    with pytest.raises(psycopg2.errors.DivisionByZero):
        migrate(connection)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT to_regclass('good') IS NULL, to_regclass('bad') IS NULL, array_agg(name) FROM schema_migrations"
        )
        assert cursor.fetchone() == (False, True, ["0001_good"])
    connection.close()


def test_database_of_a_newer_preflow_is_refused(store: Connection, database_url: str) -> None:
    with store, store.cursor() as cursor:
        cursor.execute("INSERT INTO schema_migrations (name) VALUES ('9999_later')")
    with pytest.raises(PreflowError, match="9999_later.*newer preflow"), connect(database_url):
        pass
