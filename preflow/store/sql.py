"""The driver, and the one door through which values enter the database.

Everything else in the store imports the driver from here. Values go in through `insert_rows` and `jsonb` alone, because
Postgres text and jsonb cannot hold NUL characters or lone surrogates, and JSON has no NaN.
"""

import json
import math
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from preflow.errors import PreflowError

Connection: TypeAlias = psycopg2.extensions.connection
Cursor: TypeAlias = psycopg2.extensions.cursor
OperationalError = psycopg2.OperationalError
ProgrammingError = psycopg2.ProgrammingError
parse_dsn = psycopg2.extensions.parse_dsn
open_connection = psycopg2.connect

CHUNK = 5_000
"""How many ids one statement carries: far below the limits of the server, few enough round trips to forget about."""

_PAGE = 500
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
ItemT = TypeVar("ItemT")


def clean(value: Any) -> Any:
    """A value as the database can hold it.

    NUL and lone surrogates become U+FFFD, in nested lists and mappings too; numbers that are not finite become null, as
    JSON has no way to write them. Everything else stays as it is.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def jsonb(value: Any) -> Any:
    """A JSON value as a parameter of a statement, cleaned. None becomes JSON null; give None itself for SQL NULL."""
    return psycopg2.extras.Json(clean(value), dumps=_dumps)


def insert_rows(
    cursor: Cursor, statement: str, rows: Iterable[Sequence[Any]], template: str | None = None
) -> list[tuple[Any, ...]]:
    """Runs a statement with `VALUES %s` and a RETURNING clause over many rows, with their texts cleaned.

    Args:
        cursor: A cursor inside a transaction.
        statement: The SQL, with one `%s` where the list of values belongs.
        rows: The values, one sequence per row. JSON values are wrapped by `jsonb`.
        template: The form of one row, such as `(%s::uuid, %s)`, where types cannot be inferred.

    Returns:
        What RETURNING gave, over all rows.
    """
    cleaned = [[_UNSTORABLE.sub("\ufffd", cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    if not cleaned:
        return []
    return list(psycopg2.extras.execute_values(cursor, statement, cleaned, template, page_size=_PAGE, fetch=True))


def uuid_array(ids: Iterable[str]) -> list[str]:
    """Ids as the parameter of `%s::uuid[]`.

    Raises:
        PreflowError: One of them is not a UUID in its canonical form (others would not be found again by their text).
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
    """The items in slices of at most `CHUNK`."""
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
