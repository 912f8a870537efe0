"""PPOTrainer of TRL 1.12, timed by phase. Runs in an environment of its own and imports nothing of preflow.

python -m benchmarks.ppo.trl_ppo_side FOLDER SETTINGS prints a line of JSON an update; `sides.py` makes the settings.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import trl.experimental.ppo.ppo_trainer as module
from datasets import Dataset
from peft import inject_adapter_in_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer

from benchmarks.ppo.trl_parts import Clock, adapters, announce


class Timed(PPOTrainer):
    """Prints what an update took when it is logged."""

    clock: Clock

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """One row an update."""
        self.clock.print_row(
            episodes=self.state.episode,
            reward_mean=logs["objective/scores"],
            kl=logs["objective/kl"],
            response_tokens_mean=float(self.lengths.float().mean()),
            changed_weights=float((self.watched != self.watched_before).float().mean()),
        )


def config_of(folder: Path, settings: dict[str, Any]) -> PPOConfig:
    """TRL's settings for preflow's."""
    config = settings["config"]
    return PPOConfig(
        output_dir=str(folder / "trl"),
        # One pass of a minibatch is one step: TRL would accumulate across minibatches if a batch were cut further.
        per_device_train_batch_size=config["batch_size"],
        gradient_accumulation_steps=1,
        num_mini_batches=config["minibatches"],
        num_ppo_epochs=config["epochs"],
        total_episodes=config["batch_size"] * config["train_steps"],
        response_length=config["target_sequence_length"],
        stop_token="eos",  # noqa: S106
        temperature=config["temperature"],
        kl_coef=config["kl_coeff"],
        missing_eos_penalty=config["missing_eos_penalty"] or None,
        lam=config["gae_lambda"],
        gamma=config["gamma"],
        cliprange=config["clip_range"],
        cliprange_value=config["value_clip_range"],
        vf_coef=config["value_coeff"],
        learning_rate=config["learning_rate"],
        gradient_checkpointing=False,
        num_sample_generations=0,
        bf16=settings["autocast"],
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )


def main(folder: Path, settings: dict[str, Any]) -> None:
    """Trains for a number of updates."""
    config, dtype = settings["config"], getattr(torch, settings["weights"])
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    policy = AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=dtype)
    reward, value = (
        AutoModelForSequenceClassification.from_pretrained(folder / "classifier", num_labels=1, dtype=dtype)
        for _ in range(2)
    )
    peft_config = reference = None
    if config["lora_rank"]:
        # PPOTrainer makes the policy's adapters and switches them off for the reference, but leaves the value model
        # as it is. It reads that model's backbone by name, so the adapters go into the model, without a wrapper.
        peft_config = adapters(policy, config)
        inject_adapter_in_model(adapters(value, config), value)
        value.score.requires_grad_(True)
    else:
        reference = AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=dtype)
    samples, pad = config["samples_per_prompt"], DataCollatorWithPadding(tokenizer)

    def collate(rows: list[dict[str, Any]]) -> Any:
        return pad([row for row in rows[: len(rows) // samples] for _ in range(samples)])

    trainer = Timed(
        args=config_of(folder, settings),
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward,
        value_model=value,
        train_dataset=Dataset.from_list(
            [{"input_ids": ids} for ids in json.loads((folder / "prompt_ids.json").read_text())]
        ),
        data_collator=collate,
        peft_config=peft_config,
    )
    announce(trainer.policy_model, value)
    clock = trainer.clock = Clock()
    module.batch_generation = clock.timed(module.batch_generation, lambda *_: "sampling")
    module.forward = clock.timed(module.forward, lambda *_: "" if torch.is_grad_enabled() else "evaluation")
    module.get_reward = clock.timed(module.get_reward, lambda model, *_: "scoring" if model is reward else "evaluation")
    truncate = module.truncate_response

    def truncated(stop: int, pad_id: int, responses: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = truncate(stop, pad_id, responses)
        trainer.lengths = (result != pad_id).sum(1)
        return result

    module.truncate_response = truncated
    # Of one matrix, for the learning rate may be less than its dtype can hold.
    trainer.watched = next(
        weight for name, weight in policy.named_parameters() if "up_proj" in name and weight.requires_grad
    )
    trainer.watched_before = trainer.watched.detach().clone()
    clock.restart()
    trainer.train()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
