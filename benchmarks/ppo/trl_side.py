"""PPOTrainer of TRL 1.12, timed by phase. Runs in an environment of its own and imports nothing of preflow.

python benchmarks/ppo/trl_side.py FOLDER '{"dtype": "bfloat16", "updates": 3}' prints a line of JSON an update.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch
import trl.experimental.ppo.ppo_trainer as module
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl.experimental.ppo import PPOConfig, PPOTrainer

BATCH, MICROBATCH, RESPONSE, EPOCHS = 32, 8, 64, 4
spent = dict.fromkeys(("sampling", "scoring", "evaluation"), 0.0)


def timed(function, phase):
    """The function, with its time added to a phase; `phase` is called with the arguments."""

    def run(*arguments, **settings):
        started = time.perf_counter()
        try:
            return function(*arguments, **settings)
        finally:
            name = phase(*arguments)
            if name:
                spent[name] += time.perf_counter() - started

    return run


class Timed(PPOTrainer):
    """Prints what an update took when it is logged."""

    def log(self, logs, start_time=None):
        """One row an update."""
        now = time.perf_counter()
        seconds, self.since = now - self.since, now
        scale = 1024 if sys.platform == "linux" else 1
        row = {
            "episodes": self.state.episode,
            "seconds": seconds,
            **{f"seconds_{name}": value for name, value in spent.items()},
            "reward_mean": logs["objective/scores"],
            "kl": logs["objective/kl"],
            "response_tokens_mean": float(self.lengths.float().mean()),
            "changed_weights": float((self.watched != self.watched_before).float().mean()),
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
        }
        print(json.dumps(row), flush=True)
        spent.update(dict.fromkeys(spent, 0.0))


def main(folder, settings):
    """Trains for a number of updates."""
    half = settings["dtype"] == "bfloat16"
    dtype = getattr(torch, settings.get("weights", "float32"))
    tokenizer = AutoTokenizer.from_pretrained(folder / "policy", padding_side="left")
    policy, reference = (AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=dtype) for _ in range(2))
    reward, value = (
        AutoModelForSequenceClassification.from_pretrained(folder / "classifier", num_labels=1, dtype=dtype)
        for _ in range(2)
    )
    dataset = Dataset.from_list([{"input_ids": ids} for ids in json.loads((folder / "prompt_ids.json").read_text())])
    config = PPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=MICROBATCH,
        gradient_accumulation_steps=BATCH // MICROBATCH,
        total_episodes=BATCH * settings["updates"],
        num_ppo_epochs=EPOCHS,
        num_mini_batches=1,
        response_length=RESPONSE,
        stop_token="eos",  # noqa: S106
        temperature=1.0,
        kl_coef=0.05,
        gradient_checkpointing=False,
        num_sample_generations=0,
        bf16=half and dtype == torch.float32,
        use_cpu=not torch.cuda.is_available(),
        learning_rate=settings.get("learning_rate", 3e-6),
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Timed(
        args=config,
        processing_class=tokenizer,
        model=policy,
        ref_model=reference,
        reward_model=reward,
        value_model=value,
        train_dataset=dataset,
    )
    module.batch_generation = timed(module.batch_generation, lambda *_: "sampling")
    module.forward = timed(module.forward, lambda model, *_: "evaluation" if model is reference else "")
    module.get_reward = timed(module.get_reward, lambda model, *_: "scoring" if model is reward else "evaluation")
    truncate = module.truncate_response

    def truncated(stop, pad, responses):
        result = truncate(stop, pad, responses)
        trainer.lengths = (result != pad).sum(1)
        return result

    module.truncate_response = truncated
    # Of one matrix, for the learning rate may be less than its dtype can hold.
    trainer.watched = policy.model.layers[15].mlp.up_proj.weight
    trainer.watched_before = trainer.watched.detach().clone()
    trainer.since = time.perf_counter()
    trainer.train()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
