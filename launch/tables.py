"""How tables look, and how wide they may be."""

import sys

from rich import box
from rich.console import Console
from rich.table import Column, Table

_WIDTH_OF_A_FILE = 200


def output() -> Console:
    """Standard output. Where it is no terminal, tables are as wide as they need, not cut at 80 columns."""
    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=_WIDTH_OF_A_FILE)


def table(*columns: str) -> Table:
    """A light table. Cells that do not fit are folded, never cut, so that ids can be copied."""
    return Table(*(Column(column, overflow="fold") for column in columns), box=box.SIMPLE_HEAD, pad_edge=False)
