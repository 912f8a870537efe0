"""Why a step ended, in one line."""

from pathlib import Path

import pytest

from launch.local.failures import explain

_TRACE = "Traceback (most recent call last):\n  File 'x.py', line 1, in f\n    g()\n"


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            _TRACE + "preflow.errors.PreflowError: a.jsonl, line 3: no prompt; add one\n",
            "a.jsonl, line 3: no prompt; add one",
        ),
        (
            _TRACE + "torch.OutOfMemoryError: CUDA out of memory\n[KFP Executor] more\n",
            "OutOfMemoryError: CUDA out of memory",
        ),
        (_TRACE + "KeyError\n", "KeyError"),
        (_TRACE + "OSError: first\n\nDuring handling:\n\n" + _TRACE + "ValueError: second\n", "ValueError: second"),
        ("no trace at all\n", "it ended with exit status 1 and no exception in its log"),
    ],
)
def test_the_last_exception_counts(tmp_path: Path, log: str, line: str) -> None:
    path = tmp_path / "step.log"
    path.write_text(log)
    assert explain(path, 1) == line


@pytest.mark.parametrize("returncode", [137, -9])
def test_a_killed_step_says_so_whatever_its_log_holds(tmp_path: Path, returncode: int) -> None:
    path = tmp_path / "step.log"
    path.write_text(_TRACE + "OSError: handled long before\n")
    assert explain(path, returncode).startswith("it was killed (signal 9), maybe because memory ran out")


def test_another_signal_is_named(tmp_path: Path) -> None:
    assert explain(tmp_path / "missing.log", 139) == "it died of signal 11 (SIGSEGV)"
