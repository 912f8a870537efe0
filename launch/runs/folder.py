"""The folder of a run and its files, which are written as a whole or not at all."""

import json
from pathlib import Path
from typing import Any

from preflow.errors import PreflowError
from preflow.writing import write_text


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
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where the file does not exist.

    Raises:
        PreflowError: The file cannot be read, or it holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PreflowError(f"{path}: cannot be read as JSON ({error}); mend or delete it") from None
    if not isinstance(content, dict):
        raise PreflowError(f"{path}: a JSON object was expected, got {type(content).__name__}")
    return content
