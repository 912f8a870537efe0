"""RLOOTrainer of TRL 1.16, timed by phase. Imports nothing of preflow but is run in its environment, which has TRL.

python -m benchmarks.ppo.trl_rloo_side FOLDER SETTINGS prints a line of JSON an update; `sides.py` makes the settings.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, PrinterCallback
from trl import RLOOConfig, RLOOTrainer

from benchmarks.ppo.trl_parts import Clock, adapters, announce


class Timed(RLOOTrainer):
    """Prints what an update took when it is logged."""

    clock: Clock

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """One row an update: a batch of episodes and all optimizer steps on it."""
        super().log(logs, start_time)  # fills in the figures
        if logs.get("reward") is None:
            return  # the end of training is logged too
        tokens = logs["completions/mean_length"]
        self.clock.print_row(
            episodes=self.state.global_step // self.args.logging_steps * self.args.generation_batch_size,
            reward_mean=logs["reward"],
            kl=logs["kl"] * tokens,
            response_tokens_mean=tokens,
            optimizer_steps=self.args.logging_steps,
        )


def config_of(folder: Path, settings: dict[str, Any]) -> RLOOConfig:
    """TRL's settings for preflow's: a generation batch is one update's episodes, and an iteration is an epoch."""
    config = settings["config"]
    steps = config["epochs"] * config["minibatches"]
    return RLOOConfig(
        output_dir=str(folder / "rloo"),
        generation_batch_size=config["batch_size"],
        num_generations=config["samples_per_prompt"],
        per_device_train_batch_size=config["batch_size"] // config["minibatches"],
        gradient_accumulation_steps=1,
        num_iterations=config["epochs"],
        max_steps=config["train_steps"] * steps,
        max_completion_length=config["target_sequence_length"],
        temperature=config["temperature"],
        beta=config["kl_coeff"],
        epsilon=config["clip_range"],
        max_grad_norm=config["max_gradient_norm"],
        learning_rate=config["learning_rate"],
        gradient_checkpointing=False,
        bf16=settings["autocast"],
        use_cpu=not torch.cuda.is_available(),
        logging_steps=steps,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )


def main(folder: Path, settings: dict[str, Any]) -> None:
    """Trains for a number of updates."""
    config, dtype = settings["config"], getattr(torch, settings["weights"])
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=dtype)
    reward = AutoModelForSequenceClassification.from_pretrained(folder / "classifier", num_labels=1, dtype=dtype)
    scored = AutoTokenizer.from_pretrained(folder / "classifier")
    # The score is read at the end of the turn; SmolLM2's template adds a newline to it.
    scored.chat_template = "{% set text %}" + scored.chat_template + "{% endset %}{{ text.rstrip() }}"
    prompts = [json.loads(line)["prompt"] for line in (folder / "prompts.jsonl").read_text().splitlines()]
    trainer = Timed(
        model=policy,
        reward_funcs=reward,
        args=config_of(folder, settings),
        train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": prompt}]} for prompt in prompts]),
        processing_class=AutoTokenizer.from_pretrained(folder / "policy", padding_side="left"),
        reward_processing_classes=scored,
        peft_config=adapters(policy, config),
    )
    announce(trainer.model)
    trainer.remove_callback(PrinterCallback)  # what it prints is not JSON
    clock = trainer.clock = Clock()
    phases = {
        "_generate_single_turn": "sampling",
        "_calculate_rewards": "scoring",
        "_get_per_token_logps_and_entropies": "evaluation",
    }
    for name, phase in phases.items():

        def phase_of(*_: Any, phase: str = phase) -> str:
            return "" if phase == "evaluation" and torch.is_grad_enabled() else phase

        setattr(trainer, name, clock.timed(getattr(trainer, name), phase_of))
    clock.restart()
    trainer.train()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
