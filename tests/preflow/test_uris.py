"""Local paths, gs:// objects and packaged data read alike, and errors name what was asked for."""

from pathlib import Path
from typing import Any

import pytest

from preflow import uris
from preflow.errors import PreflowError


def read(uri: str) -> str:
    with uris.open_text(uri) as file:
        return file.read()


def test_a_local_file_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Grüße", encoding="utf-8")
    assert read(str(path)) == "Grüße"
    assert uris.read_bytes(str(path)) == "Grüße".encode()


def test_an_object_reads_as_a_file_does(cloud: dict[str, bytes]) -> None:
    cloud["data/a.txt"] = "Grüße".encode()
    assert uris.is_gcs("gs://bucket/data/a.txt")
    assert read("gs://bucket/data/a.txt") == "Grüße"
    assert uris.read_bytes("gs://bucket/data/a.txt") == "Grüße".encode()


@pytest.mark.parametrize("name", ["packaged:prompts", "packaged:test-prompts", "packaged:example-feedback"])
def test_packaged_data_reads_by_name(name: str) -> None:
    assert read(name).encode() == uris.read_bytes(name)
    assert read(name).startswith("{")


@pytest.mark.parametrize("reader", [read, uris.read_bytes])
@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/no/such/file", "^/no/such/file: No such file"),
        ("/", "^/: Is a directory"),
        ("gs://bucket/none", "^gs://bucket/none: no such object"),
        ("gs:///none", "names no bucket"),
        ("packaged:nothing", "^packaged:nothing: .* packaged:prompts, packaged:test-prompts, packaged:example-"),
    ],
)
def test_what_is_not_there_is_named(cloud: dict[str, bytes], reader: Any, uri: str, expected: str) -> None:
    with pytest.raises(PreflowError, match=expected):
        reader(uri)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Grüße".encode("latin-1"))
    with pytest.raises(PreflowError, match="not UTF-8 text"):
        read(str(tmp_path / "a.txt"))


def test_a_local_folder_is_used_where_it_is(tmp_path: Path) -> None:
    assert uris.fetch_folder(str(tmp_path), tmp_path / "elsewhere") == tmp_path


def test_a_folder_of_a_bucket_is_fetched(cloud: dict[str, bytes], tmp_path: Path) -> None:
    cloud |= {"model/": b"", "model/a.json": b"a", "model/deep/b.json": b"b", "model-2/c.json": b"c"}
    fetched = uris.fetch_folder("gs://bucket/model", tmp_path / "model")
    assert {path.relative_to(fetched).as_posix() for path in fetched.rglob("*.json")} == {"a.json", "deep/b.json"}


def test_an_empty_folder_of_a_bucket_is_an_error(cloud: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match="nothing is stored there"):
        uris.fetch_folder("gs://bucket/model", tmp_path)


def test_an_object_cannot_write_outside_its_folder(cloud: dict[str, bytes], tmp_path: Path) -> None:
    cloud["model/../../escaped.json"] = b"x"
    with pytest.raises(PreflowError, match="would be written outside the folder"):
        uris.fetch_folder("gs://bucket/model", tmp_path / "model")
    assert list(tmp_path.rglob("escaped.json")) == []


def test_files_and_folders_are_stored_and_removed(cloud: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "folder/inner").mkdir(parents=True)
    (tmp_path / "folder/a").write_bytes(b"1")
    (tmp_path / "folder/inner/b").write_bytes(b"2")
    uris.upload(tmp_path / "folder", "gs://bucket/run")
    uris.upload(tmp_path / "folder/a", "gs://bucket/run-2/latest")
    assert cloud == {"run/a": b"1", "run/inner/b": b"2", "run-2/latest": b"1"}
    assert uris.exists("gs://bucket/run/a") and not uris.exists("gs://bucket/run")
    uris.delete_folder("gs://bucket/run")
    assert cloud == {"run-2/latest": b"1"}, "a folder whose name starts alike stays"
    uris.delete_folder(str(tmp_path / "folder"))
    uris.delete_folder(str(tmp_path / "folder"))
    assert not (tmp_path / "folder").exists() and not uris.exists(str(tmp_path / "folder/a"))
