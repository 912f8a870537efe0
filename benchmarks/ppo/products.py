"""How long the matrix products alone of one update take that trains two whole models, at this machine's best.

python -m benchmarks.ppo.products prints a line of JSON. Nothing that trains both models whole can be faster, however it
is written: every linear layer takes three products of its size, one forward and two backward, in every epoch.
"""

import json

import torch

from benchmarks.ppo.inputs import POLICY, PROMPT_TOKENS
from benchmarks.timing import best_seconds
from preflow.models import load_causal_lm, preferred_dtype
from preflow.ppo import PPOConfig

_EPISODES, _EPOCHS = PPOConfig().batch_size, PPOConfig().epochs
_RESPONSE, _MODELS, _AT_ONCE, _ROUNDS = 58, 2, 2048, 10


def main() -> None:
    """Times the products of each shape at `_AT_ONCE` tokens, and adds up."""
    model = load_causal_lm(POLICY)
    head = model.get_output_embeddings()
    shapes: dict[tuple[int, int], float] = {}  # how many tokens go through layers of each shape
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            tokens = _EPISODES * _EPOCHS * (_RESPONSE if layer is head else _MODELS * (PROMPT_TOKENS + _RESPONSE))
            shapes[tuple(layer.weight.shape)] = shapes.get(tuple(layer.weight.shape), 0) + tokens
    seconds = sum(tokens / _AT_ONCE * _seconds(*shape) for shape, tokens in shapes.items())
    operations = sum(tokens * 6 * shape[0] * shape[1] for shape, tokens in shapes.items())
    print(
        json.dumps(
            {
                "tflop": round(operations / 1e12, 1),
                "seconds": round(seconds, 1),
                "gflop_per_second": round(operations / seconds / 1e9),
            }
        )
    )


def _seconds(outputs: int, inputs: int) -> float:
    """What the three products of a linear layer take for `_AT_ONCE` tokens."""
    dtype = preferred_dtype()
    states, weight = torch.randn(_AT_ONCE, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
    gradient = torch.randn(_AT_ONCE, outputs).to(dtype)
    times = best_seconds(
        {
            "forward": lambda: states @ weight.T,
            "by states": lambda: gradient @ weight,
            "by weight": lambda: gradient.T @ states,
        },
        _ROUNDS,
    )
    return sum(times.values())


if __name__ == "__main__":
    main()
