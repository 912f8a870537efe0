"""A PostgreSQL server of our own, for a machine that has none."""

from preflow.embedded.shared import embedded_postgres

__all__ = ["embedded_postgres"]
