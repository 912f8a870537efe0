"""What is written beside and then moved is there whole, or not at all."""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from preflow.errors import PreflowError
from preflow.writing import written_beside


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "rows.jsonl"
    with written_beside(target) as beside:
        beside.write_text("1")
        assert not target.exists()
    assert target.read_text() == "1"
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for text in ("old", "new"):
        with written_beside(target) as beside:
            beside.mkdir()
            (beside / "weights").write_text(text)
    assert (target / "weights").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_killed_process_of_the_same_number_left_is_not_taken_over(tmp_path: Path) -> None:
    stale = tmp_path / f".model.{os.getpid()}.part"
    stale.mkdir()
    (stale / "old").write_text("half")
    with written_beside(tmp_path / "model") as beside:
        beside.mkdir()
        (beside / "weights").write_text("new")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["weights"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "home"
    target.mkdir()
    (target / "letter.txt").write_text("Dear")
    with pytest.raises(PreflowError, match=r"home: holds other files already \(letter.txt\); give an empty folder"):
        with written_beside(target) as beside:
            beside.mkdir()
    with pytest.raises(PreflowError, match="home: cannot be written"), written_beside(target) as beside:
        beside.write_text("a file")
    assert (target / "letter.txt").read_text() == "Dear"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_failure_keeps_what_was_there_and_leaves_nothing_else(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "kept"
    target.write_text("before")
    with pytest.raises(RuntimeError, match="stopped"), written_beside(target) as beside:
        if kind == "file":
            beside.write_text("half")
        else:
            beside.mkdir()
        raise RuntimeError("stopped")
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match=r"rows: cannot be written: No space left on device; free some space or"):
        with written_beside(tmp_path / "rows"):
            raise OSError(errno.ENOSPC, "No space left on device")


def test_an_error_of_safetensors_is_one_line(tmp_path: Path) -> None:
    """It has no class of its own that says that the disk is full."""
    with pytest.raises(PreflowError, match=r"model: cannot be written: .*No such file.*; free some space or"):
        with written_beside(tmp_path / "model") as beside:
            save_file({"weight": torch.zeros(1)}, beside / "missing" / "model.safetensors")
