"""The database that a reference names, and connections to it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from preflow.errors import PreflowError
from preflow.store.migrate import migrate
from preflow.store.sql import Connection, OperationalError, ProgrammingError, open_connection, parse_dsn

_CONNECT_SECONDS = 10
_SECRET_SCHEMES = ("postgresql", "postgres")


def database_url(reference: str) -> str:
    """Returns the DSN of the database that a reference names.

    Args:
        reference: Reference as written in a spec; the empty string stands for the environment variable DATABASE_URL.

    Raises:
        PreflowError: The variable is not set, the reference is a DSN (the spec would hold its password), or its kind is
            unknown. The message never repeats the reference.
    """
    if not reference:
        url = os.environ.get("DATABASE_URL", "").strip()
        if not url:
            raise PreflowError("DATABASE_URL is not set; set it to postgresql://user:password@host:port/database")
        return url
    scheme = reference.partition("://")[0].lower() if "://" in reference else ""
    if scheme in _SECRET_SCHEMES or "password=" in reference:
        raise PreflowError(
            "`database`: it is a DSN, and a password must not be in a spec; leave it empty and set DATABASE_URL"
        )
    kind = f"of the kind {scheme}://" if scheme.isalnum() else "without a known scheme"
    raise PreflowError(f"`database`: a reference {kind} is not supported; leave it empty and set DATABASE_URL")


@contextmanager
def connect(url: str) -> Iterator[Connection]:
    """Opens a connection to an up-to-date store and closes it at the end; uncommitted work is rolled back.

    Each function of the store that takes the connection is a transaction of its own.

    Args:
        url: DSN, as returned by `database_url`.

    Raises:
        PreflowError: The database cannot be reached, refuses the connection, or has a schema newer than this code. The
            message names host, port and database, never the password.
    """
    connection = _open(url)
    try:
        migrate(connection)
        yield connection
    finally:
        connection.close()


def _open(url: str) -> Connection:
    try:
        parts = parse_dsn(url)
    except ProgrammingError:
        # The driver's message may quote part of the password.
        raise PreflowError(_malformed()) from None
    host, port = parts.get("host", "localhost"), parts.get("port", "5432")
    database = parts.get("dbname", "")
    # An unescaped @ or / in a password moves part of it into the host, the port or the database name.
    if any("@" in part for part in (host, port, database)) or not port.replace(",", "").isdigit():
        raise PreflowError(_malformed())
    try:
        return open_connection(url, connect_timeout=_CONNECT_SECONDS, application_name="preflow")
    except OperationalError as error:
        reason = str(error).strip().partition("\n")[0].rpartition(" failed: ")[2]
        if parts.get("password"):
            reason = reason.replace(parts["password"], "***")
        where = f"database '{database or parts.get('user', '')}' at {host}:{port}"
        raise PreflowError(f"{where}: {reason}; check that it is running and that DATABASE_URL is right") from None


def _malformed() -> str:
    return (
        "DATABASE_URL is not a valid DSN; the form is postgresql://user:password@host:port/database, "
        "with special characters of the password percent-encoded"
    )
