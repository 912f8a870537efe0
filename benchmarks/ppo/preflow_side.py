"""PPO of preflow, timed by phase.

python -m benchmarks.ppo.inputs FOLDER, then
python -m benchmarks.ppo.preflow_side FOLDER '{"updates": 3, "like_for_like": false, "profile": false}'
prints a line of JSON an update, and with `profile` the operations that took longest.
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

_BATCH, _RESPONSE, _EPOCHS = 32, 64, 4


def config_of(settings: dict[str, Any]) -> PPOConfig:
    """The defaults, but for what both sides have in common; or everything as TRL does it."""
    options: dict[str, Any] = {}
    if settings.get("like_for_like"):
        options = {
            "lora_rank": 0,
            "critic": "separate",
            "learning_rate": 3e-6,
            "critic_learning_rate": 3e-6,
            "gae_lambda": 0.95,
            "samples_per_prompt": settings.get("samples_per_prompt", 1),
            "microbatch_tokens": 2048,
        }
    return PPOConfig(
        train_steps=settings["updates"],
        batch_size=_BATCH,
        epochs=_EPOCHS,
        minibatches=1,
        temperature=1.0,
        kl_coeff=0.05,
        missing_eos_penalty=0.0,
        target_sequence_length=_RESPONSE,
        **options,
    )


def main(folder: Path, settings: dict[str, Any]) -> None:
    """Trains for a number of updates."""
    name = "like_for_like" if settings.get("like_for_like") else "defaults"
    log = folder / f"{name}.jsonl"
    with profile() if settings.get("profile") else nullcontext() as profiler:
        ppo_optimize(
            prompts=folder / "prompts.jsonl",
            model=str(folder / "policy"),
            reward_model=folder / "reward_model",
            output=folder / name,
            training_log=log,
            config=config_of(settings),
        )
    if profiler:
        print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=15), file=sys.stderr)
    before = 0.0
    for line in log.read_text().splitlines():
        row = json.loads(line)
        kept = ("episodes", "seconds_sampling", "seconds_scoring", "seconds_evaluation", "reward_mean", "kl")
        print(
            json.dumps(
                {
                    **{name: row[name] for name in (*kept, "response_tokens_mean")},
                    "seconds": row["seconds"] - before,
                    "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                }
            )
        )
        before = row["seconds"]


if __name__ == "__main__":
    prepare_process(keep_freed_memory=True)
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
