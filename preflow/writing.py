"""Write to a temporary path and rename, so that a killed process leaves no partial file."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preflow.errors import PreflowError


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """Yields a path beside `target` for a file or folder, and renames it to `target` if the block succeeds.

    A folder replaces an existing one unless that holds files which the new one does not.

    Raises:
        PreflowError: The disk is full, `target` cannot be written, or it is a folder with other files in it.
    """
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove(beside)  # of a process that was killed and had the same number, as in a container that starts again
        yield beside
        if beside.is_dir() and target.is_dir():
            _clear(target, {path.name for path in beside.iterdir()})
        beside.replace(target)
    except Exception as error:
        if not is_disk_error(error):
            raise
        raise PreflowError(f"{target}: {reason(error)}") from error
    finally:
        _remove(beside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Writes a UTF-8 file as a whole or not at all.

    Raises:
        PreflowError: It cannot be written.
    """
    with written_beside(target) as beside:
        beside.write_text(text, encoding="utf-8")


def _clear(folder: Path, replaced: set[str]) -> None:
    """Removes a folder whose files are all being replaced. One with other files may be the user's, and raises."""
    refuse_other_files(folder, replaced)
    shutil.rmtree(folder)


def refuse_other_files(folder: Path, replaced: set[str]) -> None:
    """Checks that a folder holds nothing but what is being replaced.

    Raises:
        PreflowError: It holds another file.
    """
    other = sorted(path.name for path in folder.iterdir() if path.name not in replaced)
    if other:
        raise PreflowError(f"{folder}: holds other files already ({other[0]}); give an empty folder")


def is_disk_error(error: Exception) -> bool:
    """Whether a file could not be written. For a full disk too, safetensors raises its one SafetensorError."""
    return isinstance(error, OSError) or type(error).__name__ == "SafetensorError"


def reason(error: Exception) -> str:
    """Says what went wrong with a file, and what to do."""
    what = error.strerror if isinstance(error, OSError) else None
    return f"cannot be written: {what or error}; free some space or choose another folder"
