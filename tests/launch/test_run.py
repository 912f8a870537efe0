"""The launcher, end to end, with small steps."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preflow.errors import PreflowError

Launch = Callable[..., Path]
_TEXT = 'it\'s "quoted"\nünïcode {{}} in python3'


def _summary(run: Path) -> Any:
    return json.loads((run / "summary.json").read_text())


def test_a_run_leaves_its_folder_complete(launch: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    run = launch(text=_TEXT)
    assert run.name.startswith("small-")
    assert (run / "report.html").read_text() == "<p>better</p>"
    assert (run / "report.md").read_text() == "# better"
    assert json.loads((run / "parameters.json").read_text())["steps"] == 3
    summary = _summary(run)
    assert summary["status"] == "succeeded"
    assert (summary["run_id"], summary["pipeline"]) == (run.name, "small")
    assert (summary["win_rate"], summary["kl"], summary["win_rate_low"]) == (0.8, 3, None)
    assert summary["win_rates"]["label_score"]["low"] == 0.7
    assert (summary["reward_model_accuracy"], summary["baseline_longer"]) == (0.75, 0.6)
    assert (summary["promoted"], summary["reason"]) == (True, "Promoted: it wins")
    assert summary["verdict"]["reasons"] == ["holds: it wins"]
    assert set(summary["seconds"]) == {"prepare", "train", "judge", "record"}
    assert summary["cached"] == []
    manifest = json.loads((run / "manifest.json").read_text())
    rows = next(artifact for artifact in manifest["artifacts"] if artifact["name"] == "rows")
    assert (rows["step"], rows["type"], rows["cached"]) == ("prepare", "system.Dataset", False)
    assert Path(rows["uri"]).read_text() == _TEXT
    assert len(rows["digest"]) == 32
    assert manifest["resolved"] == {"policy_digest": ""}
    assert "KFP" not in capsys.readouterr().out


def test_each_step_has_its_own_log_without_progress_lines_and_kfp_has_another(launch: Launch) -> None:
    run = launch()
    assert "prepared 'hello'" in (run / "logs" / "prepare.log").read_text().splitlines()
    assert "::progress" not in (run / "logs" / "train.log").read_text()
    assert f"recorded {run.name}" in (run / "logs" / "record.log").read_text()
    kfp = (run / "logs" / "kfp.log").read_text()
    assert "Executing task" in kfp
    assert "prepared 'hello'" not in kfp


def test_plain_output_tells_steps_progress_and_no_kfp_lines(launch: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    launch()
    out = capsys.readouterr().out
    assert "prepare: started" in out
    assert "train: done in 0:0" in out
    assert " - INFO - " not in out


def test_the_same_run_again_is_cached_but_for_the_record(launch: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    first = launch()
    second = launch(steps=3, text="hello")
    summary = _summary(second)
    assert first != second
    assert summary["cached"] == ["prepare", "train", "judge"]
    assert [step for step, seconds in summary["seconds"].items() if seconds] == ["record"]
    assert summary["win_rate"] == 0.8
    assert (second / "report.html").exists()
    assert summary["parameters"] == _summary(first)["parameters"]
    assert "train: cached" in capsys.readouterr().out


def test_a_changed_parameter_runs_what_depends_on_it(launch: Launch) -> None:
    launch()
    summary = _summary(launch(steps=2))
    assert summary["cached"] == ["prepare"]
    assert [step for step, seconds in summary["seconds"].items() if seconds] == ["train", "judge", "record"]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("error", "step train failed: rows.jsonl, line 3: field 'prompt': missing; add it\n"),
        ("defect", "step train failed: ZeroDivisionError: division by zero\n"),
        ("killed", "step train failed: it was killed (signal 9), maybe because memory ran out"),
        ("silent", "step train failed: it ended with exit status 3 and no exception in its log\n"),
    ],
)
def test_a_failed_step_is_named_with_reason_and_log(launch: Launch, tmp_path: Path, mode: str, message: str) -> None:
    with pytest.raises(PreflowError) as caught:
        launch(mode=mode)
    text = str(caught.value)
    assert text.startswith(message)
    [run] = (tmp_path / "home" / "runs").iterdir()
    assert f"log: {run / 'logs' / 'train.log'}" in text
    assert text.endswith("run the same command again to continue")
    summary = _summary(run)
    assert (summary["status"], summary["failed_step"]) == ("failed", "train")
    assert "judge" not in summary["seconds"]


def test_a_run_goes_on_after_the_step_that_failed(launch: Launch) -> None:
    with pytest.raises(PreflowError):
        launch(mode="error")
    assert _summary(launch(mode="fine"))["cached"] == ["prepare"]


def test_peak_memory_is_measured_by_step(launch: Launch) -> None:
    peaks = _summary(launch(mode="memory"))["peak_memory_mb"]
    assert peaks["train"] > 200
    assert peaks["max"] == max(peaks.values())


def test_an_unknown_parameter_is_refused_before_anything_starts(launch: Launch, tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match="pipeline small has no parameter --step; did you mean --steps?"):
        launch(step=3)
    assert not (tmp_path / "home").exists()


def test_what_the_launcher_fills_in_cannot_be_given(launch: Launch) -> None:
    with pytest.raises(PreflowError, match="--policy-digest is filled in by the launcher"):
        launch(policy_digest="1")


def test_the_environment_and_standard_output_are_as_before(launch: Launch) -> None:
    before, out = dict(os.environ), sys.stdout
    launch()
    assert dict(os.environ) == before
    assert sys.stdout is out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_its_steps(small_pipeline: Path, tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import signal, sys; from pathlib import Path; from launch.local.run import run_local\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores it\n"
        "try: run_local(Path(sys.argv[1]), {'mode': 'slow'}, Path(sys.argv[2]))\n"
        "except KeyboardInterrupt: sys.exit(130)"
    )
    root = Path(__file__).parents[2]
    launcher = subprocess.Popen(
        [sys.executable, "-c", program, str(small_pipeline), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert launcher.stdout
    while "train: started" not in launcher.stdout.readline():
        assert launcher.poll() is None
    time.sleep(0.5)
    launcher.send_signal(number)
    assert launcher.wait(timeout=20) == 130
    with pytest.raises(ProcessLookupError):
        os.killpg(launcher.pid, 0)
    [run] = (tmp_path / "runs").iterdir()
    assert _summary(run)["status"] == "interrupted"
