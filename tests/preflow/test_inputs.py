"""Everything a run is given is checked before anything is written, and then reads as rows of our own."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import pytest

from preflow import models, rows, uris
from preflow.errors import PreflowError
from preflow.identity import is_held_out, prompt_id, split_of
from preflow.inputs import check, read_prompts, validate_inputs
from preflow.packaged import eval_dataset_of
from preflow.rows import Feedback, Prompt, read_rows

Validate = Callable[..., dict[str, int]]
QUESTIONS = [f"What is {number}?" for number in range(40)]
HELD_OUT = [question for question in QUESTIONS if is_held_out(prompt_id(question))]
SPLITS = Counter("test" if question in HELD_OUT else split_of(prompt_id(question)) for question in QUESTIONS)
OUTPUTS = ("prompts", "eval_prompts", "given_feedback")


class Tokenizer:
    """Takes every word for a token; its template knows no system turn `REFUSE`."""

    chat_template = "template"

    def apply_chat_template(self, messages: list[rows.Message], **_: Any) -> list[int]:
        from jinja2.exceptions import TemplateError

        if messages[0]["content"] == "REFUSE":
            raise TemplateError("System role not supported")
        return [0 for message in messages for _ in message["content"].split()]


def write(path: Path, *records: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def datasets(**given: str) -> dict[str, str]:
    empty = dict.fromkeys(("preference_dataset", "eval_dataset", "instruction"), "")
    return {"prompt_dataset": "packaged:prompts", **empty, **given}


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    return write(tmp_path / "given.jsonl", *({"prompt": question} for question in QUESTIONS))


@pytest.fixture
def validate(tmp_path: Path, prompts: str, monkeypatch: pytest.MonkeyPatch) -> Validate:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "bert"}')
    monkeypatch.setattr(models, "load_tokenizer", lambda reference: Tokenizer())

    def validate(**given: Any) -> dict[str, int]:
        made = {
            "prompt_dataset": prompts,
            "preference_dataset": "",
            "eval_dataset": "",
            "instruction": "",
            "large_model_reference": str(model),
            "reward_model_reference": str(model),
            "encoder_reference": str(model),
            "prompt_sequence_length": 16,
        }
        outputs = {f"{name}_out": tmp_path / "out" / name for name in OUTPUTS}
        return validate_inputs(**{**made, **outputs, **given})

    return validate


def written(tmp_path: Path, name: str) -> list[Prompt]:
    return read_rows(tmp_path / "out" / name, Prompt)


def test_without_an_evaluation_dataset_a_quarter_is_held_out_to_judge_with(validate: Validate, tmp_path: Path) -> None:
    counts = validate()
    kept, judged = written(tmp_path, "prompts"), written(tmp_path, "eval_prompts")
    assert {split_of(row.prompt_id) for row in kept} == {"train", "validation"}
    assert [row.prompt for row in judged] == HELD_OUT
    assert len(kept) + len(judged) == 40
    assert (tmp_path / "out" / "given_feedback").read_text() == ""
    assert counts == {
        "prompts": SPLITS["train"] + SPLITS["validation"],
        "train_prompts": SPLITS["train"],
        "validation_prompts": SPLITS["validation"],
        "eval_prompts": SPLITS["test"],
        "preferences": 0,
        "duplicate_prompts": 0,
        "duplicate_eval_prompts": 0,
        "moved_to_eval": 0,
        "near_duplicates_of_eval": 0,
        "near_duplicates_of_train": 0,
        "identical_candidates": 0,
        "longest_prompt_tokens": 3,
    }


def test_prompts_of_a_given_evaluation_set_are_not_trained_on(validate: Validate, tmp_path: Path) -> None:
    train = next(question for question in QUESTIONS if split_of(prompt_id(question)) == "train")
    judged = write(tmp_path / "eval.jsonl", {"prompt": train}, {"prompt": "New?"}, {"prompt": "New? "})
    counts = validate(eval_dataset=judged)
    assert [row.prompt for row in written(tmp_path, "eval_prompts")] == [train, "New?"]
    assert train not in [row.prompt for row in written(tmp_path, "prompts")]
    assert (counts["moved_to_eval"], counts["duplicate_eval_prompts"]) == (1, 1)


def test_with_an_evaluation_dataset_nothing_else_is_held_out(validate: Validate, tmp_path: Path) -> None:
    counts = validate(eval_dataset=write(tmp_path / "eval.jsonl", {"prompt": "New?"}))
    assert (counts["prompts"], counts["eval_prompts"]) == (40, 1)
    assert counts["validation_prompts"] == SPLITS["validation"] + SPLITS["test"]
    kept = {row.prompt: row.split for row in written(tmp_path, "prompts")}
    assert {kept[question] for question in HELD_OUT} == {"validation"}


def test_prompts_that_nearly_repeat_an_evaluation_prompt_are_left_out(validate: Validate, tmp_path: Path) -> None:
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"{QUESTIONS[1]}!"}]
    judged = write(tmp_path / "eval.jsonl", {"prompt": QUESTIONS[0].upper()}, {"prompt": said})
    counts = validate(eval_dataset=judged)
    assert [row.prompt for row in written(tmp_path, "prompts")] == QUESTIONS[2:]
    assert (counts["prompts"], counts["eval_prompts"], counts["near_duplicates_of_eval"]) == (38, 2, 2)
    assert counts["moved_to_eval"] == 0


def test_nothing_left_but_near_duplicates_is_named(tmp_path: Path) -> None:
    given = write(tmp_path / "given.jsonl", *({"prompt": text} for text in ("One?", "one", "ONE!")))
    judged = write(tmp_path / "eval.jsonl", {"prompt": "One"})
    with pytest.raises(PreflowError, match=r"none of its 3 prompts is left to train on \(3 nearly repeat a prompt to"):
        check(datasets(prompt_dataset=given, eval_dataset=judged))


def test_validation_prompts_that_nearly_repeat_a_train_prompt_are_left_out(validate: Validate, tmp_path: Path) -> None:
    texts = [text for number in range(40) for text in (f"What is {number}?", f"what is {number}", f"What is {number}!")]
    splits: dict[str, set[str]] = {}
    for text in texts:
        splits.setdefault(text.lower().rstrip("?!"), set()).add(split_of(prompt_id(text)))
    assert sum(len(found) == 2 for found in splits.values()) > 10, "the case is worth testing"
    eval_dataset = write(tmp_path / "eval.jsonl", {"prompt": "New?"})
    prompt_dataset = write(tmp_path / "texts.jsonl", *({"prompt": text} for text in texts))
    counts = validate(prompt_dataset=prompt_dataset, eval_dataset=eval_dataset)
    kept: dict[str, set[str]] = {}
    for row in written(tmp_path, "prompts"):
        kept.setdefault(str(row.prompt).lower().rstrip("?!"), set()).add(row.split)
    assert len(kept) == 40
    assert all(len(found) == 1 for found in kept.values())
    assert counts["near_duplicates_of_train"] == 120 - counts["prompts"] > 10


@pytest.mark.parametrize(
    ("prompt_dataset", "eval_dataset", "expected"),
    [
        ("packaged:prompts", "", "packaged:test-prompts"),
        ("packaged:prompts", "mine.jsonl", "mine.jsonl"),
        ("mine.jsonl", "", ""),
        ("mine.jsonl", "packaged:test-prompts", "packaged:test-prompts"),
    ],
)
def test_only_the_packaged_prompts_are_judged_with_the_packaged_test_prompts_by_default(
    prompt_dataset: str, eval_dataset: str, expected: str
) -> None:
    assert eval_dataset_of(prompt_dataset, eval_dataset) == expected


def test_a_prompt_that_stands_twice_counts_once(validate: Validate, tmp_path: Path, prompts: str) -> None:
    with open(prompts, "a") as file:
        file.write(json.dumps({"input_text": QUESTIONS[0], "output_text": "later"}) + "\n")
    counts = validate()
    assert counts["duplicate_prompts"] == 1
    found = [row for name in ("prompts", "eval_prompts") for row in written(tmp_path, name)]
    assert [row.reference for row in found if row.prompt == QUESTIONS[0]] == [None]


def test_an_instruction_reaches_prompts_and_preferences_alike(validate: Validate, tmp_path: Path) -> None:
    said = write(tmp_path / "said.jsonl", {"prompt": QUESTIONS[0], "chosen": "a", "rejected": "b"})
    validate(preference_dataset=said, instruction="Be brief.")
    (feedback,) = read_rows(tmp_path / "out" / "given_feedback", Feedback)
    found = {row.prompt_id: row.prompt for name in ("prompts", "eval_prompts") for row in written(tmp_path, name)}
    assert found[feedback.prompt_id] == feedback.prompt
    assert found[feedback.prompt_id][0] == {"role": "system", "content": "Be brief."}


def test_each_file_is_read_once(validate: Validate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def open_text(uri: str) -> AbstractContextManager[IO[str]]:
        opened.append(Path(uri).name)
        return uris.open_text(uri)

    monkeypatch.setattr(rows, "open_text", open_text)
    said = write(tmp_path / "said.jsonl", {"prompt": "p", "chosen": "a", "rejected": "b"})
    judged = write(tmp_path / "eval.jsonl", {"prompt": "New?"})
    validate(preference_dataset=said, eval_dataset=judged)
    assert sorted(opened) == ["eval.jsonl", "given.jsonl", "said.jsonl"]


LONG = " ".join(["word"] * 17)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"prompt_dataset": ""}, "`prompt_dataset`: none is given"),
        ({"prompt_dataset": [{"prompt": LONG}]}, "given.jsonl, line 41: field 'prompt': 17 tokens .* is 16"),
        ({"eval_dataset": [{"prompt": "ok"}, {"prompt": LONG}]}, "eval_dataset.jsonl, line 2: field 'prompt': 17"),
        (
            {"preference_dataset": [{"prompt": LONG, "chosen": "a", "rejected": "b"}]},
            "preference_dataset.jsonl, line 1: field 'prompt': 17 tokens",
        ),
        ({"instruction": "REFUSE"}, "given.jsonl, line 1: field 'prompt': does not fit the chat template .*System"),
        ({"preference_dataset": [{"a": 1}]}, "preference_dataset.jsonl, line 1: .*fields found: a"),
        ({"eval_dataset": [{"a": 1}]}, "eval_dataset.jsonl, line 1: field 'prompt': is missing .*fields found: a"),
        ({"encoder_reference": ""}, "`encoder_reference`: none is given"),
        ({"reward_model_reference": "/nowhere/model"}, "`reward_model_reference`: no model at '/nowhere/model'"),
    ],
)  # fmt: skip
def test_nothing_is_written_when_anything_is_wrong(
    validate: Validate, tmp_path: Path, prompts: str, given: dict[str, Any], expected: str
) -> None:
    for name, value in given.items():
        if isinstance(value, list):
            if name == "prompt_dataset":
                Path(prompts).write_text(Path(prompts).read_text() + json.dumps(value[0]) + "\n")
                given = {}
            else:
                given = {**given, name: write(tmp_path / f"{name}.jsonl", *value)}
    with pytest.raises(PreflowError, match=expected):
        validate(**given)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("split", "expected"),
    [("train", "held out to judge with; give `eval_dataset` or add"), ("validation", "left to train on; add")],
)
def test_a_dataset_that_leaves_a_side_empty_is_refused(tmp_path: Path, split: str, expected: str) -> None:
    one = next(question for question in QUESTIONS if split_of(prompt_id(question)) == split)
    with pytest.raises(PreflowError, match=f"none of its 1 prompts is {expected} prompts"):
        check(datasets(prompt_dataset=write(tmp_path / "one.jsonl", {"prompt": one})))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"prompt": "p", "prompt_id": "q17"}, "field 'prompt_id': is not the id of this prompt"),
        ({"prompt": "p", "reference": " "}, "field 'reference': is empty"),
        ({"prompt": "p", "refrence": "r"}, "field 'refrence'"),
        ({"prompt": " "}, "field 'prompt': is empty"),
        ({"prompt": []}, "field 'prompt': has no turns"),
        ({"prompt": [{"role": "assistant", "content": "a"}]}, "field 'prompt': the first and the last turn"),
        ({"input_text": ""}, "field 'input_text': is empty"),
        ({"input_text": "p", "output_text": 3}, "field 'output_text': must be a text"),
        ({"messages": [{"author": "bot", "content": "x"}]}, "field 'messages.0.author': must be one of user"),
        (
            {"messages": [{"author": "user", "content": "x"}, {"author": "assistant", "content": "y"}]},
            "field 'messages': the first and the last turn must be a user's",
        ),
    ],
)  # fmt: skip
def test_a_wrong_prompt_is_named_by_file_line_and_field(tmp_path: Path, record: dict[str, Any], expected: str) -> None:
    uri = write(tmp_path / "p.jsonl", {"prompt": "fine"}, record)
    with pytest.raises(PreflowError, match=f"^{uri}, line 2: {expected}"):
        read_prompts(uri)


def test_prompts_of_every_form_read(tmp_path: Path) -> None:
    uri = write(
        tmp_path / "p.jsonl",
        {"prompt": "a", "prompt_id": prompt_id("a"), "reference": "r", "category": "c"},
        {"input_text": "b", "output_text": "r"},
        {"input_text": "c", "candidate_0": "x", "candidate_1": "y", "choice": 0},
        {"messages": [{"author": "user", "content": "d"}], "context": "s"},
    )
    found = [row for _, row in read_prompts(uri)]
    system = [{"role": "system", "content": "s"}, {"role": "user", "content": "d"}]
    assert [row.prompt for row in found] == ["a", "b", "c", system]
    assert [row.reference for row in found] == ["r", "r", None, None]
    assert all(row.prompt_id == prompt_id(row.prompt) for row in found)


def test_the_packaged_datasets_are_in_order(validate: Validate) -> None:
    counts = validate(
        prompt_dataset="packaged:prompts", preference_dataset="packaged:example-feedback", prompt_sequence_length=512
    )
    assert counts["preferences"] > 0
    assert counts["duplicate_prompts"] == 0
    assert counts["prompts"] == 660
    assert min(counts["train_prompts"], counts["validation_prompts"]) > 200
    assert counts["eval_prompts"] == 128


def test_the_packaged_test_prompts_are_new_and_cover_the_same_categories() -> None:
    known = [row for _, row in read_prompts("packaged:prompts")]
    found = [row for _, row in read_prompts("packaged:test-prompts")]
    assert Counter(row.category for row in found) == dict.fromkeys({row.category for row in known}, 8)
    assert len({row.prompt_id for row in [*known, *found]}) == len(known) + 128
    assert all(row.reference for row in found)


def test_no_packaged_prompt_nearly_repeats_one_that_is_judged_with(validate: Validate) -> None:
    counts = validate(prompt_dataset="packaged:prompts", prompt_sequence_length=512)
    assert (counts["near_duplicates_of_eval"], counts["near_duplicates_of_train"]) == (0, 0)


def test_checking_the_form_loads_no_model_library() -> None:
    program = (
        f"import sys; from preflow.inputs import check; check({datasets()!r});"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_policy_that_is_an_adapter_is_looked_up_by_its_base(validate: Validate, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "model", tmp_path / "base")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tmp_path / "base")}))
    assert validate(large_model_reference=str(adapter))["prompts"] > 0


def test_every_prompt_row_has_its_split_and_the_evaluation_dataset_is_test(validate: Validate, tmp_path: Path) -> None:
    judged = write(tmp_path / "judged.jsonl", {"prompt": QUESTIONS[0]}, {"prompt": "What else?"})
    validate(eval_dataset=judged)
    assert {row.split for row in written(tmp_path, "eval_prompts")} == {"test"}
    assert all(row.split == split_of(row.prompt_id) != "test" for row in written(tmp_path, "prompts"))


def test_a_split_that_a_row_brings_must_be_the_prompts(tmp_path: Path) -> None:
    question = next(question for question in QUESTIONS if split_of(prompt_id(question)) == "train")
    same = write(tmp_path / "same.jsonl", {"prompt": question, "split": "train"})
    assert [row.split for _, row in read_prompts(same)] == ["train"]
    other = write(tmp_path / "other.jsonl", {"prompt": question, "split": "test"})
    with pytest.raises(PreflowError, match="field 'split': is 'test', but this prompt is in the train split"):
        read_prompts(other)
    assert [row.split for _, row in read_prompts(other, split=lambda _: "test")] == ["test"]
