"""PPO of preflow, timed by phase.

python -m benchmarks.ppo.inputs FOLDER, then
python -m benchmarks.ppo.preflow_side FOLDER '{"config": {"train_steps": 3}, "profile": false}'
prints a line of JSON an update, and with `profile` the operations that took longest. `config` holds the settings of PPO
that are not the defaults.
"""

import json
import resource
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch.profiler import profile

from preflow.ppo import PPOConfig, ppo_optimize
from preflow.runtime import prepare_process

_KEPT = (
    "episodes",
    "seconds_sampling",
    "seconds_scoring",
    "seconds_evaluation",
    "reward_mean",
    "kl",
    "response_tokens_mean",
    "optimizer_steps",
)


def main(folder: Path, settings: dict[str, Any]) -> None:
    """Trains for a number of updates."""
    log, config = folder / "preflow.jsonl", PPOConfig(**settings["config"])
    with profile() if settings.get("profile") else nullcontext() as profiler:
        ppo_optimize(
            prompts=folder / "prompts.jsonl",
            model=str(folder / "policy"),
            reward_model=folder / "reward_model",
            output=folder / ("adapters" if config.lora_rank else "whole"),
            training_log=log,
            config=config,
        )
    if profiler:
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=15), file=sys.stderr)
    before = 0.0
    peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for line in log.read_text().splitlines():
        row = json.loads(line)
        kept = {name: row[name] for name in _KEPT}
        print(json.dumps({**kept, "seconds": row["seconds"] - before, "peak_memory": peak_memory}))
        before = row["seconds"]


if __name__ == "__main__":
    prepare_process(keep_freed_memory=True)
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
