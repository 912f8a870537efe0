"""Where runs live, and how their files are written: beside first, then in place."""

import json
import os
from pathlib import Path
from typing import Any

from preflow.errors import PreflowError
from preflow.writing import written_beside


def preflow_home() -> Path:
    """The folder of runs, cache, artifacts and the embedded database: PREFLOW_HOME, or ~/.preflow."""
    return Path(os.environ.get("PREFLOW_HOME") or Path.home() / ".preflow").expanduser().absolute()


def new_run_folder(home: Path, pipeline: str, stamp: str) -> Path:
    """Makes `runs/<pipeline>-<stamp>`; two runs of one second get different names.

    Raises:
        PreflowError: The folder cannot be made.
    """
    number = 1
    while True:
        name = f"{pipeline}-{stamp}" + (f"-{number}" if number > 1 else "")
        folder = home / "runs" / name
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1
        except OSError as error:
            message = f"{folder}: cannot be made: {error.strerror}; set PREFLOW_HOME to another folder"
            raise PreflowError(message) from None


def write_json(path: Path, value: Any) -> None:
    """Writes indented JSON."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file as a whole or not at all."""
    with written_beside(path) as beside:
        beside.write_bytes(data)
