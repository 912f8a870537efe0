"""The driver, and the only way for values to enter the database.

Everything else in the store imports the driver from here. Values are written only through `insert_rows` and `jsonb`,
because Postgres text and jsonb cannot hold NUL characters or lone surrogates, and JSON has no NaN.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from preflow.errors import PreflowError
from preflow.rows import clean

Connection: TypeAlias = psycopg2.extensions.connection
Cursor: TypeAlias = psycopg2.extensions.cursor
OperationalError = psycopg2.OperationalError
ProgrammingError = psycopg2.ProgrammingError
parse_dsn = psycopg2.extensions.parse_dsn
open_connection = psycopg2.connect

CHUNK = 5_000
"""Number of ids in one statement: far below the limits of the server, and enough to make round trips cheap."""

_PAGE = 500
ItemT = TypeVar("ItemT")


def jsonb(value: Any) -> Any:
    """Returns a JSON value as a parameter of a statement, cleaned. None becomes JSON null; for SQL NULL, pass None."""
    return psycopg2.extras.Json(clean(value), dumps=_dumps)


def insert_rows(
    cursor: Cursor, statement: str, rows: Iterable[Sequence[Any]], template: str | None = None
) -> list[tuple[Any, ...]]:
    """Runs a statement with `VALUES %s` and a RETURNING clause for many rows, whose texts are cleaned.

    Args:
        cursor: Cursor inside a transaction.
        statement: SQL with one `%s` in the place of the list of values.
        rows: Values, one sequence per row; JSON values are wrapped by `jsonb`.
        template: Form of one row, such as `(%s::uuid, %s)`, for types that cannot be inferred.

    Returns:
        The returned rows of all pages.
    """
    cleaned = [[clean(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    if not cleaned:
        return []
    return list(psycopg2.extras.execute_values(cursor, statement, cleaned, template, page_size=_PAGE, fetch=True))


def uuid_array(ids: Iterable[str]) -> list[str]:
    """Returns ids as the parameter of `%s::uuid[]`.

    Raises:
        PreflowError: An id is not a UUID in canonical form; Postgres would return it as another text.
    """
    checked = list(ids)
    for text in checked:
        try:
            canonical = str(uuid.UUID(text)) == text
        except ValueError:
            canonical = False
        if not canonical:
            raise PreflowError(f"generation_id {text!r} is not a UUID; take ids from preflow.identity.generation_id")
    return checked


def chunks(items: Sequence[ItemT]) -> Iterator[Sequence[ItemT]]:
    """Yields the items in slices of at most `CHUNK`."""
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
