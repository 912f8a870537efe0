"""The compiled pipelines."""

from pathlib import Path

import pytest

from pipelines.compile import PIPELINES, compile_pipeline


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every pipeline as YAML."""
    folder = tmp_path_factory.mktemp("pipelines")
    return {name: compile_pipeline(name, folder / f"{name}.yaml") for name in PIPELINES}
