"""The sides: what each trains, in which program and environment, and the rows that it prints, one an update.

Every side is described by preflow's settings: the defaults of the pipeline but for what is named here. TRL's programs
read from them what TRL can set too, so that both do the same number of passes, optimizer steps and samples.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from preflow.ppo import PPOConfig


@dataclass(frozen=True)
class Side:
    """A side.

    Attributes:
        program: What runs it: preflow, or a trainer of TRL.
        config: Its settings that are not the defaults.
        how: Further settings of the program: dtypes of TRL.
        runs: How often it runs.
    """

    program: Literal["preflow", "trl_ppo", "trl_rloo"]
    config: dict[str, Any] = field(default_factory=dict)
    how: dict[str, Any] = field(default_factory=dict)
    runs: int = 2


# What TRL's PPOTrainer is made for: all weights, a separate critic, one sample per prompt; its rate, lambda, KL weight.
_WHOLE = {
    "lora_rank": 0,
    "critic": "separate",
    "samples_per_prompt": 1,
    "learning_rate": 3e-6,
    "critic_learning_rate": 3e-6,
    "gae_lambda": 0.95,
    "kl_coeff": 0.05,
    "missing_eos_penalty": 0.0,
    "microbatch_tokens": 2048,
}
_BFLOAT16 = {"weights": "bfloat16", "autocast": False}

SIDES = {
    "preflow, defaults": Side("preflow"),
    "TRL 1.12, same adapters": Side("trl_ppo", how=_BFLOAT16),
    "preflow, no critic": Side("preflow", {"critic": "none"}),
    "TRL 1.16, RLOO, same adapters": Side("trl_rloo", {"critic": "none"}, _BFLOAT16),
    "preflow, like for like": Side("preflow", _WHOLE),
    "preflow, like for like, 4 samples a prompt": Side("preflow", {**_WHOLE, "samples_per_prompt": 4}),
    "TRL 1.12, bfloat16 weights": Side("trl_ppo", _WHOLE, _BFLOAT16),
    # Far behind, and slow.
    "TRL 1.12, `bf16=True`": Side("trl_ppo", _WHOLE, {"weights": "float32", "autocast": True}, runs=1),
    "TRL 1.12, float32": Side("trl_ppo", _WHOLE, {"weights": "float32", "autocast": False}, runs=1),
}
WHOLE_TRL = tuple(name for name, side in SIDES.items() if side.program == "trl_ppo" and side.config is _WHOLE)


def make_inputs(folder: Path) -> None:
    """Writes what both sides are given, in a process of its own: a child's peak memory is never below its parent's."""
    subprocess.run([sys.executable, "-m", "benchmarks.ppo.inputs", str(folder)], check=True)


def settings_of(name: str, updates: int, **changes: Any) -> dict[str, Any]:
    """What the program of a side is given: all settings of PPO, with the rate that it trains at, and its own."""
    config = PPOConfig(train_steps=updates, **{**SIDES[name].config, **changes})
    return {"config": {**config.model_dump(), "learning_rate": config.policy_rate}, **SIDES[name].how}


def rows_of(name: str, trl_python: str, folder: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs a side on the inputs in `folder` and gives one row an update."""
    program = SIDES[name].program
    # preflow brings the TRL that has RLOO; the last one with PPO is in an environment of its own.
    python = trl_python if program == "trl_ppo" else sys.executable
    print(f"running: {name}", file=sys.stderr, flush=True)
    arguments = [python, "-m", f"benchmarks.ppo.{program}_side", str(folder), json.dumps(settings)]
    output = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in output.stdout.splitlines() if line.startswith("{")]
