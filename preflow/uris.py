"""Open and copy files by local path, gs:// URI or packaged name. The only module that talks to Cloud Storage."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from preflow.errors import PreflowError
from preflow.packaged import is_packaged, packaged_file

_GCS = "gs://"


def is_gcs(uri: str) -> bool:
    """Whether a URI names an object or folder in Cloud Storage."""
    return uri.startswith(_GCS)


@contextmanager
def open_text(uri: str) -> Iterator[IO[str]]:
    """Opens a UTF-8 text file for reading, by local path, gs:// URI or packaged name; a byte order mark is skipped.

    Raises:
        PreflowError: The file does not exist, is a folder, cannot be read, or is not UTF-8.
    """
    try:
        if is_gcs(uri):
            with _blob(uri).open("r", encoding="utf-8-sig") as remote:
                yield remote
        elif is_packaged(uri):
            with packaged_file(uri).open(encoding="utf-8-sig") as packaged:
                yield packaged
        else:
            with Path(uri).open(encoding="utf-8-sig") as local:
                yield local
    except OSError as error:
        raise PreflowError(f"{uri}: {error.strerror or error}; give a path or gs:// URI of a readable file") from None
    except UnicodeDecodeError as error:
        raise PreflowError(f"{uri}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from None


def read_bytes(uri: str) -> bytes:
    """Reads one file by local path, gs:// URI or packaged name.

    Raises:
        PreflowError: The file does not exist or cannot be read.
    """
    try:
        if is_gcs(uri):
            content: bytes = _blob(uri).download_as_bytes()
            return content
        if is_packaged(uri):
            return packaged_file(uri).read_bytes()
        return Path(uri).read_bytes()
    except OSError as error:
        raise PreflowError(f"{uri}: {error.strerror or error}; give a path or gs:// URI of a readable file") from None


def fetch_folder(uri: str, target: Path) -> Path:
    """Returns a local folder with the files of `uri`: itself if it is local, else a download into `target`.

    Raises:
        PreflowError: There are no objects under the URI, or one would be written outside `target`.
    """
    if not is_gcs(uri):
        return Path(uri)
    bucket, prefix = _parts(uri.rstrip("/") + "/")
    blobs = [blob for blob in _client().list_blobs(bucket, prefix=prefix) if not blob.name.endswith("/")]
    if not blobs:
        raise PreflowError(f"{uri}: nothing is stored there; check the bucket and the folder")
    for blob in blobs:
        path = target / blob.name[len(prefix) :]
        if not path.resolve().is_relative_to(target.resolve()):
            raise PreflowError(f"{uri}: object '{blob.name}' would be written outside the folder; rename it")
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.download_to_filename(str(path))
    return target


def exists(uri: str) -> bool:
    """Whether a file or object exists."""
    if not is_gcs(uri):
        return Path(uri).is_file()
    bucket, name = _parts(uri)
    return bool(_client().bucket(bucket).blob(name).exists())


def upload(source: Path, uri: str) -> None:
    """Uploads a local file, or the contents of a local folder, to a gs:// URI."""
    bucket, name = _parts(uri)
    for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
        if path.is_file():
            target = f"{name}/{path.relative_to(source).as_posix()}" if source.is_dir() else name
            _client().bucket(bucket).blob(target).upload_from_filename(str(path))


def delete_folder(uri: str) -> None:
    """Deletes a local folder, or all objects under a gs:// URI. A missing one is not an error."""
    if not is_gcs(uri):
        shutil.rmtree(uri, ignore_errors=True)
        return
    bucket, prefix = _parts(uri.rstrip("/") + "/")
    for blob in _client().list_blobs(bucket, prefix=prefix):
        blob.delete()


def _parts(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix(_GCS).partition("/")
    if not bucket:
        raise PreflowError(f"{uri}: names no bucket; the form is gs://bucket/path")
    return bucket, name


def _client() -> Any:
    from google.cloud import storage

    return storage.Client()


def _blob(uri: str) -> Any:
    from google.api_core.exceptions import GoogleAPIError

    bucket, name = _parts(uri)
    blob = _client().bucket(bucket).blob(name)
    try:
        found = blob.exists()
    except GoogleAPIError as error:
        raise PreflowError(f"{uri}: Cloud Storage refused: {error}; check credentials and bucket") from None
    if not found:
        raise PreflowError(f"{uri}: no such object; check the bucket and the path")
    return blob
