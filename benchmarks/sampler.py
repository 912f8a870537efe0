"""The sampler against `generate` of transformers: SmolLM2-135M-Instruct, 4 samples of each of 8 prompts, 64 tokens."""

import json
from typing import Any

import torch

from benchmarks.timing import best_seconds
from preflow.chat import encode_prompt
from preflow.generation.prepacked_linear import pack_linear_layers
from preflow.generation.sampler import sample
from preflow.inputs import read_prompts
from preflow.models import load_causal_lm, load_tokenizer, preferred_dtype

_MODEL, _PROMPTS, _SAMPLES, _TOKENS = "SmolLM2-135M-Instruct", 8, 4, 64


def main() -> None:
    """Prints tokens per second of each, and ratios. No response ends early: every alternative does the same work."""
    tokenizer = load_tokenizer(_MODEL)
    rows = [row for _, row in read_prompts("packaged:prompts")[:_PROMPTS]]
    prompts = [encode_prompt(tokenizer, row.prompt) for row in rows for _ in range(_SAMPLES)]
    plain, packed = load_causal_lm(_MODEL), load_causal_lm(_MODEL)
    pack_linear_layers(packed)
    library = load_causal_lm(_MODEL)
    library.set_attn_implementation("sdpa")
    padded = _padded(tokenizer, prompts)

    def ours(model: Any) -> None:
        uniforms = torch.rand(len(prompts), _TOKENS)
        sample(model, prompts, uniforms=uniforms, temperature=1.0, eos_ids=[], pad_id=tokenizer.pad_token_id)

    def theirs() -> None:
        library.generate(**padded, do_sample=True, top_k=0, top_p=1.0, min_new_tokens=_TOKENS, max_new_tokens=_TOKENS)

    seconds = best_seconds(
        {"generate": theirs, "preflow, weights not packed": lambda: ours(plain), "preflow": lambda: ours(packed)},
        rounds=3,
    )
    for name, spent in seconds.items():
        print(f"{name:<30} {len(prompts) * _TOKENS / spent:7.0f} tokens/s")
    ratios = {"ratio": "generate", "packing_ratio": "preflow, weights not packed"}
    figures = {name: round(seconds[other] / seconds["preflow"], 2) for name, other in ratios.items()}
    print(json.dumps({"dtype": str(preferred_dtype()), **figures}))


def _padded(tokenizer: Any, prompts: list[list[int]]) -> dict[str, torch.Tensor]:
    tokenizer.padding_side = "left"
    return dict(tokenizer.pad({"input_ids": prompts}, return_tensors="pt"))


if __name__ == "__main__":
    main()
