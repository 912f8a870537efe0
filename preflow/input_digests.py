"""Digests of what a run reads, for cache keys: a cache sees names and URIs, not changed contents."""

from collections.abc import Iterable
from pathlib import Path

from preflow.identity import digest_bytes, digest_files, digest_json
from preflow.uris import read_bytes


def datasets_digest(uris: Iterable[str]) -> str:
    """32 hex digits over the contents of datasets, in order; '' stands for no dataset."""
    return digest_json([digest_bytes(read_bytes(uri)) if uri else "" for uri in uris])


def folders_digest(references: Iterable[str]) -> str:
    """32 hex digits over the files of those models that are local folders, in order; '' if none is.

    The others are named by their reference: a packaged name or a Hugging Face id with its revision.
    """
    folders = [Path(reference) for reference in references if reference and Path(reference).is_dir()]
    files = [sorted(path for path in folder.rglob("*") if path.is_file()) for folder in folders]
    digests = [digest_files(paths, folder) for paths, folder in zip(files, folders, strict=True)]
    return digest_json(digests) if digests else ""
