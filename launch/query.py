"""`preflow sql`: one read-only query on the run's database, as a table."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from launch.database import run_database
from launch.tables import table
from preflow.errors import PreflowError


def print_query(statement: str, home: Path, console: Console) -> None:
    """Runs a query in a read-only session and prints its rows.

    Raises:
        PreflowError: The database refuses the query or cannot be reached.
    """
    import psycopg2

    from preflow.store import connect

    with run_database(home, "") as url, connect(url) as connection:
        connection.set_session(readonly=True, autocommit=True)
        with connection.cursor() as cursor:
            try:
                cursor.execute(statement)
            except psycopg2.Error as error:
                raise PreflowError(f"the database refuses the query: {str(error).strip().splitlines()[0]}") from None
            if cursor.description is None:
                raise PreflowError("the statement gives no rows; only queries are run here")
            rows = table(*(column.name for column in cursor.description))
            for row in cursor.fetchall():
                rows.add_row(*(Text("" if value is None else str(value)) for value in row))
    console.print(rows)
