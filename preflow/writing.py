"""Write beside, then move: whoever is killed on the way leaves nothing half-written."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preflow.errors import PreflowError


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """Gives a path beside `target` to write a file or a folder to, and moves it there when the block ends well.

    A folder takes the place of one that holds nothing else than what is written anew.

    Raises:
        PreflowError: The disk is full, or the place cannot be written, or it is a folder with other files in it.
    """
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        if beside.is_dir() and target.is_dir():
            _clear(target, {path.name for path in beside.iterdir()})
        beside.replace(target)
    except Exception as error:
        if not is_disk_error(error):
            raise
        raise PreflowError(f"{target}: {reason(error)}") from error
    finally:
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        else:
            beside.unlink(missing_ok=True)


def _clear(folder: Path, replaced: set[str]) -> None:
    """Removes a folder of which everything is replaced; one with other files in it may be anybody's."""
    refuse_other_files(folder, replaced)
    shutil.rmtree(folder)


def refuse_other_files(folder: Path, replaced: set[str]) -> None:
    """Refuses a folder in which there is something else than what is replaced.

    Raises:
        PreflowError: There is.
    """
    other = sorted(path.name for path in folder.iterdir() if path.name not in replaced)
    if other:
        raise PreflowError(f"{folder}: holds other files already ({other[0]}); give an empty folder")


def is_disk_error(error: Exception) -> bool:
    """Whether a file could not be written. safetensors has an error of its own for a full disk, and no class of it."""
    return isinstance(error, OSError) or type(error).__name__ == "SafetensorError"


def reason(error: Exception) -> str:
    """What went wrong with a file, and what to do."""
    what = error.strerror if isinstance(error, OSError) else None
    return f"cannot be written: {what or error}; free some space or choose another folder"
