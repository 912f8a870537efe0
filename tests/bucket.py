"""A bucket of Cloud Storage that lives in memory, for `preflow.uris`."""

import io
from pathlib import Path


class Blob:
    """An object of a bucket that lives in memory."""

    def __init__(self, name: str, objects: dict[str, bytes]) -> None:
        self.name, self.objects = name, objects

    @property
    def content(self) -> bytes | None:
        return self.objects.get(self.name)

    def exists(self) -> bool:
        return self.content is not None

    def upload_from_filename(self, path: str) -> None:
        self.objects[self.name] = Path(path).read_bytes()

    def delete(self) -> None:
        del self.objects[self.name]

    def open(self, mode: str, encoding: str) -> io.TextIOWrapper:
        assert mode == "r"
        return io.TextIOWrapper(io.BytesIO(self.content or b""), encoding=encoding)

    def download_as_bytes(self) -> bytes:
        return self.content or b""

    def download_to_filename(self, path: str) -> None:
        Path(path).write_bytes(self.content or b"")


class Client:
    """A storage client with the objects of one bucket."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects

    def bucket(self, name: str) -> "Client":
        assert name == "bucket"
        return self

    def blob(self, name: str) -> Blob:
        return Blob(name, self.objects)

    def list_blobs(self, bucket: str, prefix: str) -> list[Blob]:
        assert bucket == "bucket"
        return [Blob(name, self.objects) for name in self.objects if name.startswith(prefix)]
