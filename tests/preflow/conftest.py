"""Models small enough for tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preflow import uris
from preflow.rows import Prompt, write_rows
from tests.bucket import Client
from tests.tiny import questions, save_encoder, save_policy


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny causal language model, not to be changed."""
    return save_policy(tmp_path_factory.mktemp("models") / "policy")


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny sentence encoder, not to be changed."""
    return save_encoder(tmp_path_factory.mktemp("models") / "encoder")


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Computes in float32 on the CPU, whatever the machine could do."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)


@pytest.fixture
def prompt_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes prompts to a file: given ones, or a number of made-up ones."""

    def write(count: int = 6, rows: list[Prompt] | None = None, **settings: Any) -> Path:
        path = tmp_path / "prompts.jsonl"
        write_rows(path, rows or questions(count, **settings))
        return path

    return write


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The objects of `gs://bucket`, by name."""
    objects: dict[str, bytes] = {}
    monkeypatch.setattr(uris, "_client", lambda: Client(objects))
    return objects
