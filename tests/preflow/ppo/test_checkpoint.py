"""A run that is killed goes on and ends as if it had not been."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from preflow.errors import PreflowError
from preflow.ppo import checkpoint, trainer
from preflow.ppo.config import PPOConfig
from preflow.ppo.trainer import ppo_optimize
from preflow.reward.model import RewardModel
from tests.preflow.ppo.settings import replace

pytestmark = pytest.mark.usefixtures("exact")
Optimize = Callable[..., dict[str, Any]]
KINDS: dict[str, dict[str, Any]] = {
    "adapters": {"normalize_reward": True, "kl_target": 0.5, "kl_horizon": 50, "eval_steps": 2, "keep_best": True},
    "everything, with a critic of its own": {"lora_rank": 0, "critic": "separate", "critic_warmup_steps": 1},
    "no critic": {"critic": "none", "gae_lambda": 1.0},
}
# A run in a process of its own, slow enough to be killed between its updates; in the third it pauses.
_SLOW = """
import os, sys, time
from pathlib import Path
import torch
from preflow.ppo import PPOConfig, ppo_optimize, trainer

torch.cuda.is_available = torch.cpu._is_avx512_bf16_supported = torch.cpu._is_amx_tile_supported = lambda: False
torch.set_num_threads(int(sys.argv.pop()))
collect_rollout = trainer.collect_rollout
updates = 0
def slow(*arguments, **settings):
    global updates
    updates += 1
    time.sleep(float(os.environ.get("PAUSE", 0)) if updates == 3 else 0.2)
    return collect_rollout(*arguments, **settings)
trainer.collect_rollout = slow
prompts, model, reward_model, folder, config = sys.argv[1:]
ppo_optimize(
    prompts=Path(prompts), model=model, reward_model=Path(reward_model), output=Path(folder) / "tuned",
    training_log=Path(folder) / "log.jsonl", config=eval(config), checkpoints=folder + "/checkpoints",
)
"""


class Killed(Exception):
    """Stands for a kill at some update."""


@pytest.fixture
def config(config: PPOConfig) -> PPOConfig:
    return replace(config, train_steps=5, epochs=2, minibatches=2, samples_per_prompt=2)


@pytest.fixture
def reward_folder(policy_folder: Path, tmp_path: Path) -> Path:
    model = RewardModel(str(policy_folder), max_length=200)
    model.head.weight.data.normal_(generator=torch.Generator().manual_seed(3))
    model.save(tmp_path / "reward")
    return tmp_path / "reward"


@pytest.fixture
def optimize(
    policy_folder: Path, reward_folder: Path, prompt_file: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Optimize:  # fmt: skip
    """Runs PPO into a folder of that name, killed in that update."""
    prompts = prompt_file(20)
    collect_rollout = trainer.collect_rollout

    def run(
        config: PPOConfig, name: str, killed_in: int = 0, checkpoints: str | None = None, **given: Any
    ) -> dict[str, Any]:
        updates = 0

        def counted(*arguments: Any, **settings: Any) -> Any:
            nonlocal updates
            updates += 1
            if updates == killed_in:
                raise Killed
            return collect_rollout(*arguments, **settings)

        monkeypatch.setattr(trainer, "collect_rollout", counted)
        folder = tmp_path / name
        settings: dict[str, Any] = {
            "prompts": prompts, "model": str(policy_folder), "reward_model": reward_folder, "output": folder / "tuned",
            "training_log": folder / "log.jsonl", "config": config,
            "checkpoints": str(folder / "checkpoints") if checkpoints is None else checkpoints,
        }  # fmt: skip
        return ppo_optimize(**{**settings, **given})

    return run


def outcome(folder: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """The weights and the log of a run, but for how long it took."""
    [weights] = (folder / "tuned").glob("*.safetensors")
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return load_file(weights), [{key: row[key] for key in row if not key.startswith("seconds")} for row in rows]


def assert_same(one: Path, other: Path) -> None:
    weights, log = outcome(one)
    other_weights, other_log = outcome(other)
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    assert log == other_log


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("killed_in", [[1], [4], [2, 3]])
def test_a_run_goes_on_bit_by_bit(
    optimize: Optimize, config: PPOConfig, tmp_path: Path, kind: str, killed_in: list[int]
) -> None:
    settings = replace(config, **KINDS[kind])
    whole = optimize(settings, "whole", checkpoints="")
    for update in killed_in:
        with pytest.raises(Killed):
            optimize(settings, "killed", killed_in=update)
    again = optimize(settings, "killed")
    assert_same(tmp_path / "whole", tmp_path / "killed")
    assert {key: again[key] for key in again if "seconds" not in key} == {
        key: whole[key] for key in whole if "seconds" not in key
    }
    assert not list((tmp_path / "killed/checkpoints").iterdir()), "a run that is done leaves nothing"


def test_a_reward_that_compares_meanings_goes_on_bit_by_bit(
    optimize: Optimize, config: PPOConfig, tmp_path: Path, encoder_folder: Path
) -> None:
    mixed = {"reward_weights": {"reward_model": 1.0, "scorer:relevance": 1.0}, "encoder": str(encoder_folder)}
    optimize(config, "whole", checkpoints="", **mixed)
    with pytest.raises(Killed):
        optimize(config, "killed", killed_in=4, **mixed)
    optimize(config, "killed", **mixed)
    assert_same(tmp_path / "whole", tmp_path / "killed")


@pytest.fixture
def spawn(
    config: PPOConfig, tmp_path: Path, policy_folder: Path, reward_folder: Path, prompt_file: Callable[..., Path]
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a run in a process of its own."""
    started: list[subprocess.Popen[str]] = []
    (tmp_path / "slow.py").write_text(_SLOW)

    def start(name: str, pause: float = 0) -> subprocess.Popen[str]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        inputs = [prompt_file(20), policy_folder, reward_folder, folder, repr(config), torch.get_num_threads()]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PAUSE": str(pause)}
        command = [sys.executable, "-u", str(tmp_path / "slow.py"), *map(str, inputs)]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list((folder / "checkpoints").glob("*/latest.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_process_goes_on_bit_by_bit(
    optimize: Optimize, config: PPOConfig, tmp_path: Path, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    optimize(config, "whole", checkpoints="")
    process = spawn("killed")
    wait_for_checkpoint(tmp_path / "killed", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed/tuned").exists()
    optimize(config, "killed")
    assert_same(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed/checkpoints").iterdir()), "nor does it leave the lock of the killed process"


def test_a_second_process_waits_and_resumes_when_the_first_is_killed(
    optimize: Optimize, config: PPOConfig, tmp_path: Path, spawn: Callable[..., subprocess.Popen[str]]
) -> None:
    optimize(config, "whole", checkpoints="")
    first = spawn("run", pause=300)
    wait_for_checkpoint(tmp_path / "run", first)
    second = spawn("run")
    assert second.stdout
    [place] = (tmp_path / "run/checkpoints").glob("[!.]*")
    waiting = f"waiting for another process that trains this policy (checkpoint {place})\n"
    assert second.stdout.readline() == waiting
    time.sleep(2 * checkpoint._SECONDS_BETWEEN_TRIES)
    assert first.poll() is None and second.poll() is None
    first.send_signal(signal.SIGKILL)
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 0
    assert waiting not in said, "it says so once"
    assert "resumed after update 2" in said
    assert_same(tmp_path / "whole", tmp_path / "run")
    assert not list((tmp_path / "run/checkpoints").iterdir())


def test_a_folder_has_one_writer_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_SECONDS_BETWEEN_TRIES", 0.001)
    place, inside, most = str(tmp_path / "checkpoints/key"), 0, 0
    entered = threading.Lock()

    def write() -> None:
        nonlocal inside, most
        for _ in range(20):
            with checkpoint.one_writer(place):
                with entered:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0.001)
                with entered:
                    inside -= 1

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, inside) == (1, 0), "although every writer deletes the lock's file"
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_folder_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreflowError, match="file/.key.lock: cannot be written: "):
        with checkpoint.one_writer(f"{tmp_path}/file/key"):
            pass


def test_one_checkpoint_is_kept(optimize: Optimize, config: PPOConfig, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        optimize(config, "run", killed_in=4)
    [place] = (tmp_path / "run/checkpoints").iterdir()
    assert sorted(path.name for path in place.iterdir()) == ["latest.json", "update-00003"]


def test_checkpoints_may_be_rarer_than_updates(
    optimize: Optimize, config: PPOConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rarely = replace(config, checkpoint_steps=2, kl_target=0.5)
    optimize(rarely, "whole", checkpoints="")
    with pytest.raises(Killed):
        optimize(rarely, "run", killed_in=4)
    capsys.readouterr()

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(trainer, "_write", killed)
        optimize(replace(rarely, checkpoint_steps=3), "run")
    assert "resumed after update 2" in capsys.readouterr().out, "how often it is written is no part of its key"
    optimize(rarely, "run", killed_in=1)
    assert "resumed after update 5" in capsys.readouterr().out, "the last update is always kept"
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_why_a_run_stopped_is_kept(optimize: Optimize, config: PPOConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(config, reward_threshold=-1e9)

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(trainer, "_write", killed)
        optimize(settings, "run")
    summary = optimize(settings, "run", killed_in=1)
    assert summary["stop_reason"].endswith("reached reward_threshold -1e+09")
    assert (summary["optimizer_steps"], summary["left_out_steps"], summary["planned_steps"]) == (8, 12, 20)


def test_the_last_policy_within_the_budget_is_in_the_checkpoint(
    optimize: Optimize, config: PPOConfig, tmp_path: Path
) -> None:
    settings = replace(config, kl_budget=2.5)
    whole = optimize(settings, "whole", checkpoints="")
    assert (len(outcome(tmp_path / "whole")[1]), whole["written_update"]) == (5, 3), "update 5 found it spent"
    with pytest.raises(Killed):
        optimize(settings, "run", killed_in=5)
    again = optimize(settings, "run")
    assert (again["stop_reason"], again["written_update"]) == (whole["stop_reason"], 3)
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_a_run_with_other_settings_begins_anew(optimize: Optimize, config: PPOConfig, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        optimize(config, "run", killed_in=4)
    other = replace(config, kl_coeff=0.1)
    optimize(other, "run")
    optimize(other, "whole", checkpoints="")
    assert_same(tmp_path / "whole", tmp_path / "run")
    assert len(list((tmp_path / "run/checkpoints").iterdir())) == 1, "the other run's is still there"


def test_a_run_with_other_references_begins_anew(
    optimize: Optimize, config: PPOConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Killed):
        optimize(config, "run", killed_in=4)
    rows = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps({**row, "reference": "Another one."}) + "\n" for row in rows))
    optimize(config, "run", prompts=other)
    assert "resumed" not in capsys.readouterr().out
    optimize(config, "run")
    assert "resumed after update 3" in capsys.readouterr().out


def test_a_run_whose_reward_function_was_changed_begins_anew(
    optimize: Optimize, config: PPOConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    code = "def letters(prompts, completions):\n    return [float(text.count('e')) for text in completions]\n"
    (tmp_path / "letters_of_a_user.py").write_text(code)
    (tmp_path / "entry_of_a_user.py").write_text("from letters_of_a_user import letters\n")
    monkeypatch.syspath_prepend(tmp_path)
    reward = {"reward_weights": {"function:entry_of_a_user:letters": 1.0}}
    with pytest.raises(Killed):
        optimize(config, "run", killed_in=4, **reward)
    (tmp_path / "letters_of_a_user.py").write_text(code.replace("'e'", "'a'"))
    optimize(config, "run", **reward)
    assert "resumed" not in capsys.readouterr().out
    (tmp_path / "letters_of_a_user.py").write_text(code)
    optimize(config, "run", **reward)
    assert "resumed after update 3" in capsys.readouterr().out


def test_checkpoints_in_cloud_storage_are_whole_or_not_there(
    optimize: Optimize, config: PPOConfig, tmp_path: Path, cloud: dict[str, bytes]
) -> None:
    optimize(config, "whole", checkpoints="")
    with pytest.raises(Killed):
        optimize(config, "run", killed_in=4, checkpoints="gs://bucket/checkpoints")
    names = {name.split("/", 2)[2] for name in cloud}
    assert {name.partition("/")[0] for name in names} == {"latest.json", "update-00003"}
    optimize(config, "run", checkpoints="gs://bucket/checkpoints")
    assert_same(tmp_path / "whole", tmp_path / "run")
    assert cloud == {}
