"""Under `.ci/run` a skip fails, unless the test needs root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    ("skip", "ci", "status"),
    [
        ("pytest.skip('no data')", "true", 1),
        ("pytest.skip('no data')", "", 0),
        ("pytest.skip('needs root')", "true", 0),
        ("pytest.xfail('known')", "true", 0),
        ("pytest.skip('no data', allow_module_level=True)", "true", 1),
    ],
)
def test_a_skip_fails_the_run_with_ci(tmp_path: Path, skip: str, ci: str, status: int) -> None:
    body = skip if "allow_module_level" in skip else f"def test_it():\n    {skip}"
    (tmp_path / "test_it.py").write_text(f"import pytest\n\n{body}\n")
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.no_skip_plugin", "-p", "no:cacheprovider", "."]
    environment = {**os.environ, "CI": ci, "PYTHONPATH": str(_ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout
    assert ("1 skipped; with CI=true" in done.stdout) == bool(status)
