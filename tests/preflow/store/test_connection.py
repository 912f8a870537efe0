import re

import pytest

from preflow.errors import PreflowError
from preflow.store import connection as module


def test_empty_reference_is_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@h/d")
    assert module.database_url("") == "postgresql://u:p@h/d"
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(PreflowError, match="DATABASE_URL is not set"):
        module.database_url("")


@pytest.mark.parametrize(
    "reference",
    ["postgresql://u:hunter2@h/d", "POSTGRES://u:hunter2@h/d", "host=h password=hunter2", "sm://hunter2", "hunter2"],
)
def test_other_references_are_refused_and_not_repeated(reference: str) -> None:
    with pytest.raises(PreflowError, match="set DATABASE_URL") as caught:
        module.database_url(reference)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://ada:hunter2@127.0.0.1:1/logs", r"database 'logs' at 127\.0\.0\.1:1: .*refused"),
        ("postgresql://ada:hunter2@no-such-host.invalid:5432/logs", r"database 'logs' at no-such-host\.invalid:5432"),
        ("postgresql://ada:pa@hunter2@127.0.0.1:1/logs", "percent-encoded"),
        ("postgresql://ada:hunter2/x@127.0.0.1:1/logs", "percent-encoded"),
        ("postgresql://ada:hunter2%zz@127.0.0.1:1/logs", "percent-encoded"),
        ("nonsense hunter2", "percent-encoded"),
    ],
)
def test_unreachable_database_is_named_without_its_password(url: str, says: str) -> None:
    with pytest.raises(PreflowError, match=says) as caught, module.connect(url):
        pass
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_password_is_not_repeated(database_url: str) -> None:
    url = re.sub(r":[\w-]+@", ":hunter2@", database_url)
    with pytest.raises(PreflowError, match="password authentication failed") as caught, module.connect(url):
        pass
    assert "hunter2" not in str(caught.value)


def test_connection_is_closed_and_unfinished_work_rolled_back(database_url: str) -> None:
    with pytest.raises(ZeroDivisionError), module.connect(database_url) as connection:
        connection.cursor().execute("DELETE FROM store_meta")
        raise ZeroDivisionError
    assert connection.closed
    with module.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM store_meta")
        assert cursor.fetchone() == (1,)
