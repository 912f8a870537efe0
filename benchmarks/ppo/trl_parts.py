"""What the programs of both of TRL's trainers need. They may run in an environment without preflow: no import of it."""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from peft import LoraConfig
from torch import nn

_PHASES = ("sampling", "scoring", "evaluation")


class Clock:
    """Seconds of an update, in all and by phase, and its row."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begins an update."""
        self.started, self.spent = time.perf_counter(), dict.fromkeys(_PHASES, 0.0)

    def timed(self, function: Callable[..., Any], phase: Callable[..., str]) -> Callable[..., Any]:
        """The function, with its time added to the phase that `phase` names for its arguments; '' names none."""

        def run(*arguments: Any, **settings: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **settings)
            finally:
                name = phase(*arguments)
                if name:
                    self.spent[name] += time.perf_counter() - started

        return run

    def print_row(self, **measures: float) -> None:
        """Prints an update's line of JSON and begins the next."""
        scale = 1024 if sys.platform == "linux" else 1
        row = {
            "seconds": time.perf_counter() - self.started,
            **{f"seconds_{name}": value for name, value in self.spent.items()},
            **measures,
            "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
        }
        print(json.dumps(row), flush=True)
        self.restart()


def adapters(model: Any, config: dict[str, Any]) -> LoraConfig:
    """Preflow's adapters: LoRA on the linear layers of the uppermost layers, with an alpha of twice the rank."""
    layers = model.config.num_hidden_layers
    inside = (name for name, part in model.base_model.layers.named_modules() if isinstance(part, nn.Linear))
    return LoraConfig(
        r=config["lora_rank"],
        lora_alpha=2 * config["lora_rank"],
        lora_dropout=0.0,
        target_modules=sorted({name.rpartition(".")[2] for name in inside}),
        layers_to_transform=list(range(layers - config["lora_layers"], layers)),
    )


def announce(*models: Any) -> None:
    """Says how many weights are trained."""
    trained = sum(weight.numel() for model in models for weight in model.parameters() if weight.requires_grad)
    print(f"weights trained: {trained}", file=sys.stderr)
