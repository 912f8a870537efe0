"""Let the base model answer the evaluation prompts. Its answers do not depend on any policy, so a cache keeps them."""

from pathlib import Path
from typing import Any

from preflow.evaluation.answering import answer
from preflow.evaluation.base_config import BaseInferenceConfig
from preflow.generation.prepacked_linear import pack_linear_layers
from preflow.models import load_causal_lm, load_tokenizer
from preflow.rows import Prompt, Reply, read_rows, write_rows

TEMPERATURES = (0.0, 0.3, 0.5, 0.7, 1.0)
"""Among these the base model's best is found, by its answers to validation prompts."""


def base_inference(
    *, prompts: Path, eval_prompts: Path, model: str, output: Path, config: BaseInferenceConfig
) -> dict[str, Any]:
    """The base model answers test prompts at each temperature to judge at, and validation prompts at `TEMPERATURES`.

    Args:
        prompts: File of prompt rows; those of the validation split are answered.
        eval_prompts: File of prompt rows that nothing was trained on.
        model: Reference of the base model.
        output: File of reply rows to write.
        config: Settings.

    Returns:
        Counts, and the share of answers that the model ended itself.

    Raises:
        PreflowError: An input is invalid.
    """
    known = sorted(read_rows(prompts, Prompt), key=lambda row: row.prompt_id)
    validation = [row for row in known if row.split == "validation"][: config.max_validation_prompts]
    test = sorted(read_rows(eval_prompts, Prompt), key=lambda row: row.prompt_id)[: config.max_prompts or None]
    tokenizer, base = load_tokenizer(model), load_causal_lm(model)
    pack_linear_layers(base)
    replies: list[Reply] = []
    for label, rows, temperatures in (("validation", validation, TEMPERATURES), ("test", test, config.temperatures)):
        found = answer(f"answers to {label} prompts", base, tokenizer, rows, temperatures, config)
        replies += [reply for answers in found.values() for reply in answers]
    write_rows(output, replies)
    return {
        "replies": len(replies),
        "test_prompts": len(test),
        "validation_prompts": len(validation),
        "eos_rate": sum(row.finish_reason == "stop" for row in replies) / len(replies),
    }
