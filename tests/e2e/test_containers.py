"""The pipeline in containers of the image that `make image` builds, under the strictest rules of a cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from kfp import dsl
from kfp.dsl import Dataset, Output
from safetensors.torch import load_file

from launch.local.containers import check_readable, image_id
from launch.local.run import run_local
from pipelines.compile import compile_function
from preflow.errors import PreflowError
from tests.launch.test_whole_loop import artifacts, summary

pytestmark = pytest.mark.e2e
_ROOT = Path(__file__).resolve().parents[2]
_SETTINGS = {"num_prompts": 40, "num_samples": 2, "min_score_gap": 1e-6}


@dsl.component(base_image="preflow-python:test", install_kfp_package=False)
def look_around(found: Output[Dataset]):
    import json
    import os
    import pwd
    import tempfile

    def writable(path: str) -> bool:
        try:
            with open(path, "w"):
                return True
        except OSError:
            return False

    def has_name(uid: int) -> bool:
        try:
            return bool(pwd.getpwuid(uid))
        except KeyError:
            return False

    with open("/proc/self/status") as file:
        status = dict(line.strip().split(":\t", 1) for line in file if ":\t" in line)
    with open(found.path, "w") as file:
        json.dump(
            {
                "user": os.getuid(),
                "named": has_name(os.getuid()),
                "capabilities": int(status["CapEff"], 16) | int(status["CapPrm"], 16),
                "no_new_privileges": status["NoNewPrivs"].strip(),
                "writable": [path for path in ("/x", "/opt/x", "/opt/preflow/x", "/tmp/x") if writable(path)],
                "temporary": tempfile.gettempdir(),
            },
            file,
        )


@dsl.pipeline(name="look")
def look():
    look_around()


def artifact(run: Path, name: str) -> Path:
    return Path(next(one["uri"] for one in artifacts(run) if one["name"] == name))


def rows(run: Path, name: str, *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(json.loads(line)[field] for field in fields) for line in artifact(run, name).read_text().splitlines()]


def test_the_image_says_which_revision_it_holds_and_is_no_roots(image: str) -> None:
    form = '--format={{.Config.User}} {{index .Config.Labels "org.opencontainers.image.revision"}}'
    told = subprocess.run(["docker", "image", "inspect", form, image], capture_output=True, text=True, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=_ROOT, capture_output=True, text=True, check=True)
    user, revision = told.stdout.split()
    assert user == "65532:65532"
    assert revision.removesuffix("-dirty") == head.stdout.strip()


def test_a_step_has_no_privileges_and_writes_only_where_it_works(tmp_path: Path, image: str) -> None:
    run = run_local(compile_function(look, tmp_path / "look.yaml"), {}, tmp_path / "home", image)
    found = json.loads(artifact(run, "found").read_text())
    assert found["user"] == (os.getuid() or artifact(run, "found").stat().st_uid) != 0
    assert found == {
        "user": found["user"],
        "named": False,
        "capabilities": 0,
        "no_new_privileges": "1",
        "writable": [],
        "temporary": "/work",
    }


def test_the_loop_in_containers_equals_the_loop_in_processes(
    launched: Callable[..., Path], image: str, tmp_path: Path
) -> None:
    here = launched("rlhf", **_SETTINGS)
    for file in tmp_path.glob("*/*.safetensors"):
        file.chmod(0o644)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL")  # another log, so that nothing is read that the first run sampled
        there = launched("rlhf", home=tmp_path / "container_home", image=image, **_SETTINGS)
        again = launched("rlhf", home=tmp_path / "container_home", image=image, **_SETTINGS)
    found = summary(there)
    assert (found["status"], found["place"], found["cached"]) == ("succeeded", "docker", [])
    assert set(found["images"]) == set(found["seconds"]) and set(found["images"].values()) == {image_id(image)}
    assert set(summary(again)["cached"]) == set(found["seconds"]) - {"record-run"}
    assert (summary(here)["place"], summary(here)["images"]) == ("local", {})
    assert found["peak_memory_mb"]["ppo-optimize"] > 100
    for name, fields in (
        ("scored_generations", ("generation_id", "response", "scores")),
        ("pairs", ("prompt_id", "chosen", "rejected", "weight")),
    ):
        assert sorted(map(repr, rows(here, name, *fields))) == sorted(map(repr, rows(there, name, *fields)))
    ours, theirs = (load_file(artifact(run, "policy") / "adapter_model.safetensors") for run in (here, there))
    assert ours.keys() == theirs.keys() and all((ours[name] == theirs[name]).all() for name in ours)
    assert summary(here)["win_rates"] == found["win_rates"]


@pytest.mark.parametrize(
    ("mode", "reason"), [("silent", "exit status 3"), ("error", "rows.jsonl, line 3: field 'prompt': missing; add it")]
)
def test_a_container_that_fails_fails_the_run(
    mode: str, reason: str, small_pipeline: Path, image: str, tmp_path: Path
) -> None:
    with pytest.raises(PreflowError, match="step train failed"):
        run_local(small_pipeline, {"mode": mode}, tmp_path / "home", image)
    [run] = (tmp_path / "home" / "runs").iterdir()
    found = summary(run)
    assert (found["status"], found["failed_step"]) == ("failed", "train")
    assert reason in found["error"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_container_outlives_its_launcher(
    number: signal.Signals, small_pipeline: Path, image: str, tmp_path: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from launch.local.run import run_local\n"
        "run_local(Path(sys.argv[1]), {'mode': 'slow'}, Path(sys.argv[2]), sys.argv[3])"
    )
    command = [sys.executable, "-c", program, str(small_pipeline), str(tmp_path / "home"), image]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(_ROOT)}) as launcher:
        _until(lambda: "train" in _running())
        psutil.Process(launcher.pid).send_signal(number)
        launcher.wait()
    _until(lambda: _running() == [])


def test_what_a_nameless_user_may_not_read_is_told_before_anything_runs(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "model").mkdir()
    secret = tmp_path / "model" / "weights"
    secret.touch(mode=0o600)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    with pytest.raises(PreflowError, match=f"^{secret}: steps run .*`chmod -R a\\+rX {secret.parent}`"):
        check_readable([str(tmp_path / "model")])


def test_an_unknown_image_is_one_clear_line(engine: None, small_pipeline: Path, tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match="^--image: no-such-image is not here and cannot be pulled"):
        run_local(small_pipeline, {}, tmp_path / "home", "no-such-image")
    assert not (tmp_path / "home" / "runs").exists()


def _running() -> list[str]:
    """The steps that run in containers."""
    form = '--format={{.Label "preflow.step"}}'
    listed = subprocess.run(["docker", "ps", form], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(200):
        if holds():
            return
        time.sleep(0.2)
    raise AssertionError(f"still running: {_running()}")
