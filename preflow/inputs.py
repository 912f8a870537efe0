"""Reads and checks the datasets and models of a run before anything expensive starts."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from preflow.chat import check_length
from preflow.errors import PreflowError
from preflow.feedback.fields import Record, check_prompt, nonblank, vertex_prompt, wrong
from preflow.feedback.importers import read_preferences
from preflow.identity import is_held_out, prompt_id, split_of, with_instruction
from preflow.near_duplicates import near_duplicates
from preflow.packaged import eval_dataset_of
from preflow.rows import Feedback, Prompt, PromptText, Row, Split, parse_row, read_records, write_rows

_PROMPT_FORMS = "prompt rows (prompt; optional reference, category) and Vertex (input_text or messages)"


class Inputs(NamedTuple):
    """The datasets of a run, in the form that later steps read.

    Attributes:
        prompts: Prompts of the train and validation splits.
        eval_prompts: Prompts of the test split.
        given_feedback: Feedback rows of the preference dataset.
        counts: Numbers of rows, and of rows that were left out and why.
        locations: File and line of the first row of each distinct prompt, by `prompt_id`, with its text.
    """

    prompts: list[Prompt]
    eval_prompts: list[Prompt]
    given_feedback: list[Feedback]
    counts: dict[str, int]
    locations: dict[str, tuple[str, PromptText]]


def validate_inputs(
    *,
    prompt_dataset: str,
    preference_dataset: str,
    eval_dataset: str,
    instruction: str,
    large_model_reference: str,
    reward_model_reference: str,
    encoder_reference: str,
    prompt_sequence_length: int,
    prompts_out: Path,
    eval_prompts_out: Path,
    given_feedback_out: Path,
) -> dict[str, int]:
    """Checks the datasets and models of a run, then writes the datasets as rows.

    Each file is read once, only configurations and tokenizers of models are loaded, and nothing is written before
    everything is checked.

    Args:
        prompt_dataset: Prompts: local path, gs:// URI or packaged name. Its train and validation splits are written.
        preference_dataset: Preferences in any form that `feedback.importers` reads, or '' for none.
        eval_dataset: Evaluation prompts, or '' for the packaged test prompts if `prompt_dataset` is packaged:prompts,
            and for the held-out quarter of any other `prompt_dataset`. A prompt in both datasets, and one that
            nearly repeats an evaluation prompt, is not trained on.
        instruction: System turn for prompts and preferences without one.
        large_model_reference: The policy.
        reward_model_reference: The model that the reward model starts from.
        encoder_reference: The sentence encoder.
        prompt_sequence_length: Largest number of tokens of a prompt, with the policy's chat template.
        prompts_out: File of prompt rows to write.
        eval_prompts_out: File of prompt rows to write.
        given_feedback_out: File of feedback rows to write; empty without a preference dataset.

    Returns:
        Numbers of rows, of rows that were left out and why, and the tokens of the longest prompt.

    Raises:
        PreflowError: A file, row or model is wrong; the message names it.
    """
    inputs = _read_inputs(prompt_dataset, preference_dataset, eval_dataset, instruction)
    _check_models(large_model_reference, reward_model_reference, encoder_reference)
    longest = _check_lengths(inputs.locations, large_model_reference, prompt_sequence_length)
    write_rows(prompts_out, inputs.prompts)
    write_rows(eval_prompts_out, inputs.eval_prompts)
    write_rows(given_feedback_out, inputs.given_feedback)
    return {**inputs.counts, "longest_prompt_tokens": longest}


def check(arguments: Mapping[str, Any]) -> None:
    """Reads the datasets of a run as `validate_inputs` does, without models: the check before a run starts.

    Raises:
        PreflowError: A file or a row is wrong; the message names file, line and field.
    """
    _read_inputs(*(arguments[name] for name in ("prompt_dataset", "preference_dataset", "eval_dataset", "instruction")))


class PromptRecord(Row):
    """A prompt as a dataset holds it: a prompt row in which id and split may be missing."""

    prompt: PromptText
    reference: str | None = None
    category: str | None = None
    prompt_id: str | None = None
    split: Split | None = None


def read_prompts(uri: str, instruction: str = "", split: Callable[[str], Split] = split_of) -> list[tuple[str, Prompt]]:
    """Reads a prompt dataset, each row with its location, such as `prompts.jsonl, line 3`.

    Args:
        uri: Local path, gs:// URI or packaged name of JSON Lines: prompt rows, or Vertex rows, whose other fields are
            ignored, so that a preference file can serve.
        instruction: System turn for prompts without one.
        split: The split of a prompt, given its id.

    Raises:
        PreflowError: A record has neither form or a wrong value; the message names file, line and field.
    """
    return [(where, _prompt(record, where, instruction, split)) for where, record in read_records(uri)]


def _prompt(record: Record, where: str, instruction: str, split_by_id: Callable[[str], Split]) -> Prompt:
    if "prompt" in record:
        given = parse_row(PromptRecord, record, where)
        check_prompt(given.prompt, "prompt", where)
        if given.reference is not None:
            nonblank(given.reference, "reference", where)
    elif "input_text" in record or "messages" in record:
        reference = nonblank(record["output_text"], "output_text", where) if "output_text" in record else None
        given = PromptRecord(prompt=vertex_prompt(record, where), reference=reference)
    else:
        found = ", ".join(sorted(record)) or "none"
        raise PreflowError(f"{where}: field 'prompt': is missing (fields found: {found}); accepted are {_PROMPT_FORMS}")
    if given.prompt_id not in (None, prompt_id(given.prompt)):
        raise wrong(where, "prompt_id", f"is not the id of this prompt ({prompt_id(given.prompt)}); leave it out")
    prompt = with_instruction(given.prompt, instruction)
    name = prompt_id(prompt)
    split = split_by_id(name)
    if given.split not in (None, split):
        raise wrong(where, "split", f"is '{given.split}', but this prompt is in the {split} split; leave it out")
    return Prompt(prompt_id=name, prompt=prompt, split=split, reference=given.reference, category=given.category)


def _read_inputs(prompt_dataset: str, preference_dataset: str, eval_dataset: str, instruction: str) -> Inputs:
    if not prompt_dataset:
        raise PreflowError("`prompt_dataset`: none is given; give a path, a gs:// URI or packaged:prompts")
    eval_dataset = eval_dataset_of(prompt_dataset, eval_dataset)
    judged = read_prompts(eval_dataset, instruction, lambda _: "test") if eval_dataset else []
    eval_ids = {row.prompt_id for _, row in judged}
    given = read_prompts(
        prompt_dataset, instruction, partial(split_of, eval_ids=eval_ids) if eval_dataset else _split_with_held_out
    )
    given_feedback, identical = read_preferences(preference_dataset, instruction) if preference_dataset else ([], 0)
    prompts = _distinct(given)
    others = [row for row in prompts if row.split != "test"]
    eval_prompts = _distinct(judged) if eval_dataset else [row for row in prompts if row.split == "test"]
    apart = _without_near_duplicates(others, of=eval_prompts)
    train = [row for row in apart if row.split == "train"]
    validation = _without_near_duplicates([row for row in apart if row.split == "validation"], of=train)
    if not train or not eval_prompts:
        near = f" ({len(others) - len(apart)} nearly repeat a prompt to judge with)" if len(others) > len(apart) else ""
        purpose = "held out to judge with; give `eval_dataset` or" if train else f"left to train on{near};"
        raise PreflowError(f"{prompt_dataset}: none of its {len(prompts)} prompts is {purpose} add prompts")
    counts = {
        "prompts": len(train) + len(validation),
        "train_prompts": len(train),
        "validation_prompts": len(validation),
        "eval_prompts": len(eval_prompts),
        "preferences": len(given_feedback),
        "duplicate_prompts": len(given) - len(prompts),
        "duplicate_eval_prompts": len(judged) - len(eval_prompts) if eval_dataset else 0,
        "moved_to_eval": len(prompts) - len(others) if eval_dataset else 0,
        "near_duplicates_of_eval": len(others) - len(apart),
        "near_duplicates_of_train": len(apart) - len(train) - len(validation),
        "identical_candidates": identical,
    }
    left = {row.prompt_id for row in [*train, *validation]}
    kept = [row for row in prompts if row.prompt_id in left]
    return Inputs(
        kept, eval_prompts, [row for _, row in given_feedback], counts, _locations([*given, *judged], given_feedback)
    )


def _split_with_held_out(prompt: str) -> Split:
    return "test" if is_held_out(prompt) else split_of(prompt)


def _without_near_duplicates(prompts: Sequence[Prompt], of: Sequence[Prompt]) -> list[Prompt]:
    left_out = near_duplicates(
        {row.prompt_id: row.prompt for row in prompts}, {row.prompt_id: row.prompt for row in of}
    )
    return [row for row in prompts if row.prompt_id not in left_out]


def _locations(
    prompts: Sequence[tuple[str, Prompt]], given_feedback: Sequence[tuple[str, Feedback]]
) -> dict[str, tuple[str, PromptText]]:
    """The first location of each prompt, so that a prompt in many rows is tokenized once."""
    locations: dict[str, tuple[str, PromptText]] = {}
    for where, prompt in prompts:
        locations.setdefault(prompt.prompt_id, (where, prompt.prompt))
    for where, feedback in given_feedback:
        locations.setdefault(feedback.prompt_id, (where, feedback.prompt))
    return locations


def _distinct(rows: Sequence[tuple[str, Prompt]]) -> list[Prompt]:
    """The first row of each prompt, in order."""
    first: dict[str, Prompt] = {}
    for _, row in rows:
        first.setdefault(row.prompt_id, row)
    return list(first.values())


def _check_models(large_model_reference: str, reward_model_reference: str, encoder_reference: str) -> None:
    from transformers import AutoConfig

    from preflow.models import adapter_base, resolve_model

    references = {
        "large_model_reference": large_model_reference,
        "reward_model_reference": reward_model_reference,
        "encoder_reference": encoder_reference,
    }
    for name, reference in references.items():
        if not reference:
            raise PreflowError(f"`{name}`: none is given; give a packaged name, a Hugging Face id or a folder")
        folder, revision = resolve_model(adapter_base(reference) or reference)
        try:
            AutoConfig.from_pretrained(folder, revision=revision or "main", trust_remote_code=False)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise PreflowError(
                f"`{name}`: no model at '{reference}' ({reason}); give a packaged name, a Hugging Face id, "
                "a local folder or a gs:// folder"
            ) from None


def _check_lengths(locations: dict[str, tuple[str, PromptText]], model: str, limit: int) -> int:
    from jinja2.exceptions import TemplateError

    from preflow.models import load_tokenizer

    tokenizer: Any = load_tokenizer(model)
    longest = 0
    for where, prompt in locations.values():
        try:
            longest = max(longest, check_length(tokenizer, prompt, limit, where))
        except TemplateError as error:
            raise wrong(where, "prompt", f"does not fit the chat template of {model}: {error}") from None
    return longest
