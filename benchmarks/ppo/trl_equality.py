"""One update of TRL's PPOTrainer on tiny random models, with the tensors that it computes on the way.

python -m benchmarks.ppo.trl_equality FILE GAMMA LAMBDA writes them as safetensors. Runs in TRL's environment and
imports nothing of preflow. The trainer computes advantages and losses inside `train()`, so they are read from its own
local variables when it calls `masked_whiten` and `backward`. Only what it samples is replaced: by random answers of
several lengths, with log-probabilities that differ from the policy's, so that ratios are clipped.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import trl.experimental.ppo.ppo_trainer as module
from datasets import Dataset
from safetensors.torch import save_file
from tokenizers import Tokenizer, models
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast
from trl.experimental.ppo import PPOConfig, PPOTrainer

_WORDS, _PROMPT, _RESPONSE, _EPISODES, _NOISE = 40, 5, 12, 32, 0.3
_PAD, _EOS = 0, 1
_ADVANTAGES = ("scores", "logprobs", "ref_logprobs", "values", "rewards", "padding_mask", "padding_mask_p1", "returns")
_LOSSES = ("new_logprobs", "vpred", "mb_logprobs", "mb_advantage", "mb_values", "mb_return", "pg_loss", "vf_loss")


def main(file: Path, gamma: float, lam: float) -> None:
    """Trains for one update and writes what it computed."""
    torch.manual_seed(0)
    words = {"pad": _PAD, "eos": _EOS, **{f"w{number}": number for number in range(2, _WORDS)}}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, "pad")),
        pad_token="pad",  # noqa: S106
        eos_token="eos",  # noqa: S106
        padding_side="left",
    )
    shape = LlamaConfig(
        vocab_size=_WORDS, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, pad_token_id=_PAD, eos_token_id=_EOS, bos_token_id=None, num_labels=1,
        initializer_range=0.4,
    )  # fmt: skip
    prompts = torch.randint(2, _WORDS, (_EPISODES, _PROMPT))
    with TemporaryDirectory() as scratch:
        trainer = PPOTrainer(
            args=PPOConfig(
                output_dir=scratch, per_device_train_batch_size=_EPISODES, gradient_accumulation_steps=1,
                num_mini_batches=4, num_ppo_epochs=2, total_episodes=_EPISODES, response_length=_RESPONSE,
                stop_token="eos", temperature=1.0, gamma=gamma, lam=lam, learning_rate=3e-3,  # noqa: S106
                gradient_checkpointing=False, num_sample_generations=0, bf16=False, use_cpu=True, report_to="none",
                save_strategy="no", disable_tqdm=True,
            ),
            processing_class=tokenizer,
            model=LlamaForCausalLM(shape),
            ref_model=LlamaForCausalLM(shape),
            reward_model=LlamaForSequenceClassification(shape),
            value_model=LlamaForSequenceClassification(shape),
            train_dataset=Dataset.from_list([{"input_ids": row} for row in prompts.tolist()]),
        )  # fmt: skip
        found = _watched(trainer)
        trainer.train()
    found["kl_coeff"], found["clip"] = torch.tensor(trainer.args.kl_coef), torch.tensor(trainer.args.cliprange)
    found["value_clip"] = torch.tensor(trainer.args.cliprange_value)
    save_file({name: value.detach().contiguous() for name, value in found.items()}, file)


def _watched(trainer: Any) -> dict[str, Tensor]:
    """What the trainer will have computed: advantages under their own names, losses under `step.name`."""
    found: dict[str, Tensor] = {}
    whiten, backward, steps = module.masked_whiten, trainer.accelerator.backward, iter(range(1000))

    def whitened(values: Tensor, mask: Tensor, *arguments: Any, **settings: Any) -> Tensor:
        local = sys._getframe(1).f_locals
        found.update({name: local[name].clone() for name in _ADVANTAGES})
        found["advantages"], found["mask"] = values.clone(), mask.clone()
        found["whitened"] = whiten(values, mask, *arguments, **settings)
        return found["whitened"]

    def backwards(loss: Tensor, **settings: Any) -> None:
        local, step = sys._getframe(1).f_locals, next(steps)
        found.update({f"{step}.{name}": local[name].clone() for name in _LOSSES})
        found[f"{step}.rows"] = torch.as_tensor(local["micro_batch_inds"])
        for name, variable in {"pg_loss": "new_logprobs", "vf_loss": "vpred"}.items():
            (gradient,) = torch.autograd.grad(local[name], local[variable], retain_graph=True)
            found[f"{step}.{name}.gradient"] = gradient
        backward(loss, **settings)

    module.masked_whiten, trainer.accelerator.backward = whitened, backwards
    module.batch_generation = _random_answers
    return found


@torch.no_grad()
def _random_answers(policy: Any, queries: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    """Answers that end anywhere or not at all, padded, and logits near the policy's."""
    responses = torch.randint(2, _WORDS, (len(queries), _RESPONSE))
    for row, length in enumerate(torch.randint(1, _RESPONSE + 4, (len(queries),)).tolist()):
        responses[row, length - 1 : length] = _EOS
        responses[row, length:] = _PAD
    both = torch.cat([queries, responses], 1)
    logits = module.forward(policy, both, _PAD).logits[:, _PROMPT - 1 : -1]
    return both, logits + _NOISE * torch.randn_like(logits)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
