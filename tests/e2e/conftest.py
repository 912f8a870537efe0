"""What the end-to-end tests share: the report data of the evaluation's tests, a container engine, and the image."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launch.conftest import small_pipeline
from tests.launch.test_whole_loop import launched
from tests.preflow.report.conftest import make_data

__all__ = ["launched", "make_data", "small_pipeline"]
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A container engine; where none runs, one of this session's, which needs root."""
    if _answers():
        yield
        return
    if os.getuid():
        pytest.skip("needs root")
    folder = tmp_path_factory.mktemp("engine")
    with (folder / "log").open("w") as log, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{folder}/socket")
        command = ["dockerd", "--host", f"unix://{folder}/socket", "--pidfile", f"{folder}/pid"]
        command += ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
        with subprocess.Popen(command, stdout=log, stderr=log) as server:
            try:
                _wait(server, folder / "log")
                yield
            finally:
                server.terminate()


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """The image of the steps, built as `make image` does."""
    tag = "preflow-train:test"
    subprocess.run([_ROOT / "scripts" / "build-image", tag], check=True, cwd=_ROOT)
    return tag


def _answers() -> bool:
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


def _wait(server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(120):
        if _answers():
            return
        assert server.poll() is None, log.read_text()[-2000:]
        time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])
