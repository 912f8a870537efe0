from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import psycopg2.extras
import pytest

from preflow.errors import PreflowError
from preflow.rows import Generation
from preflow.store import Connection, connect, select_generations, store_id
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


def test_an_old_log_keeps_its_rows_and_its_store_id_when_token_count_becomes_the_sum(
    database_url: str, make_generation: Callable[..., Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {name: statements for name, statements in migrations().items() if name < "0004"}
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is dew?"}]
    rows = [make_generation(0), make_generation(1, prompt=chat, prompt_tokens=30, completion_tokens=0)]
    insert = """
        INSERT INTO llm_logs (generation_id, prompt_id, prompt, messages, sample, response, model_name, model_digest,
            token_count, prompt_tokens, generation_time, finish_reason, sampling, reward_score)
        VALUES (%s, 'p1', 'What is dew?', %s, %s, %s, 'tiny', 'm1', %s, %s, 0.1, 'stop', %s, 0.5)"""
    with monkeypatch.context() as before:
        before.setattr("preflow.store.migrate.migrations", lambda: old)
        with connect(database_url) as connection, connection.cursor() as cursor:
            for row, messages in zip(rows, (None, chat), strict=True):
                json = [None if one is None else psycopg2.extras.Json(one) for one in (messages, row.sampling)]
                tokens = (row.completion_tokens, row.prompt_tokens)
                cursor.execute(insert, (row.generation_id, json[0], row.sample, row.response, *tokens, json[1]))
            connection.commit()
            name = store_id(connection)
    with connect(database_url) as connection:
        assert select_generations(connection, [row.generation_id for row in rows]) == rows
        assert store_id(connection) == name
        with connection.cursor() as cursor:
            cursor.execute("SELECT token_count, completion_tokens, reward_score FROM llm_logs ORDER BY sample")
            assert cursor.fetchall() == [(9, 4, 0.5), (30, 0, 0.5)]
