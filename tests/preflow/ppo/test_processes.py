"""Two processes do what one does."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from preflow.errors import PreflowError
from preflow.ppo import processes
from preflow.ppo.config import PPOConfig
from preflow.reward.model import RewardModel
from tests.preflow.ppo.settings import replace

_RUN = """
import sys
from pathlib import Path
import torch
from preflow.ppo import PPOConfig, ppo_optimize

torch.cuda.is_available = torch.cpu._is_avx512_bf16_supported = torch.cpu._is_amx_tile_supported = lambda: False
torch.set_num_threads(1)
prompts, model, reward_model, encoder, folder, config = sys.argv[1:]
ppo_optimize(
    prompts=Path(prompts), model=model, reward_model=Path(reward_model), output=Path(folder) / "tuned",
    training_log=Path(folder) / "log.jsonl", config=eval(config), checkpoints=folder + "/checkpoints",
    reward_weights={"reward_model": 1.0, "scorer:ended_properly": 0.5}, encoder=encoder,
)
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def run(
    policy_folder: Path, encoder_folder: Path, prompt_file: Callable[..., Path], tmp_path: Path
) -> Callable[..., Path]:
    """Runs PPO in so many gloo processes, which torchrun starts, into a folder of its own."""
    torch.manual_seed(0)
    RewardModel(str(policy_folder), max_length=200).save(tmp_path / "reward")
    prompts = prompt_file(20)
    (tmp_path / "run.py").write_text(_RUN)

    def start(config: PPOConfig, count: int) -> Path:
        folder = tmp_path / f"by-{count}"
        arguments = [
            str(one) for one in (prompts, policy_folder, tmp_path / "reward", encoder_folder, folder, repr(config))
        ]
        launcher = [sys.executable]
        if count > 1:
            launcher += ["-m", "torch.distributed.run", "--nproc-per-node", str(count)]
            launcher += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
        done = subprocess.run(
            [*launcher, str(tmp_path / "run.py"), *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0
        assert done.stdout.count("optimizer steps") == 1, "only the first prints"
        return folder

    return start


@pytest.mark.parametrize(
    "kind", [{}, {"lora_rank": 0, "critic": "separate", "critic_warmup_steps": 1, "normalize_reward": True}]
)
def test_two_processes_equal_one(run: Callable[..., Path], config: PPOConfig, kind: dict[str, Any]) -> None:
    settings = replace(
        config, train_steps=3, epochs=2, minibatches=4, samples_per_prompt=2, learning_rate=1e-3,
        critic_learning_rate=1e-3, seed=1, **kind,
    )  # fmt: skip
    one, two = (run(settings, count) for count in (1, 2))
    weights, others = (load_file(next((folder / "tuned").glob("*.safetensors"))) for folder in (one, two))
    assert weights.keys() == others.keys()
    for name in weights:
        torch.testing.assert_close(
            weights[name], others[name], atol=1e-4, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )
    logs = [[json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()] for folder in (one, two)]
    assert [row["update"] for row in logs[0]] == [1, 2, 3]
    for row, other in zip(*logs, strict=True):
        assert row.keys() == other.keys()
        for key in row:
            if not key.startswith("seconds"):
                assert other[key] == pytest.approx(row[key], rel=1e-2, abs=1e-3), key


def test_a_batch_that_cannot_be_shared_is_refused(config: PPOConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Three:
        num_processes, process_index = 3, 2

    monkeypatch.setattr(processes, "_state", Three)
    with pytest.raises(
        PreflowError, match="`batch_size`: 8 given; 3 processes with `samples_per_prompt` 2 need a multiple of 6"
    ):
        processes.own_rows(replace(config, samples_per_prompt=2))
    assert processes.own_rows(replace(config, batch_size=12, samples_per_prompt=2)) == slice(8, 12)


def test_processes_that_found_different_checkpoints_do_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    processes.agree(2, "checkpoints")
    monkeypatch.setattr(processes, "gathered", lambda rows: torch.cat([rows, rows * 0]))
    with pytest.raises(PreflowError, match="checkpoints: the processes found .2, 0.; give a folder that all of them"):
        processes.agree(2, "checkpoints")
