"""Runs a component's body in this process, with the library replaced by what a test expects of it."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp.dsl import Artifact


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces a module of the library: `library("preflow.ppo", PPOConfig=..., ppo_optimize=...)`."""

    def replace(module: str, **members: Any) -> None:
        double = types.ModuleType(module)
        for name, member in members.items():
            setattr(double, name, member)
        monkeypatch.setitem(sys.modules, module, double)

    return replace


@pytest.fixture
def artifact(tmp_path: Path) -> Callable[..., Any]:
    """Makes an artifact, as in `artifact(Dataset, "rows", "text", {"a": 1})`; without a text it has no file."""

    def make(
        kind: type[Artifact], name: str, text: str | None = None, metadata: dict[str, Any] | None = None
    ) -> Artifact:
        path = tmp_path / name
        if text is not None:
            path.write_text(text)
        return kind(name=name, uri=str(path), metadata=metadata or {})

    return make
