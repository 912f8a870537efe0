"""Preference data of every accepted form becomes the same rows; anything else is named by file, line and field."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflow.errors import PreflowError
from preflow.feedback.importers import import_record, read_preferences
from preflow.identity import prompt_id
from preflow.inputs import read_prompts
from preflow.rows import Feedback

PREFERENCES = Path(__file__).parents[2] / "data" / "preferences.jsonl"

VERTEX = {"input_text": "What is dew?", "candidate_0": "Fog.", "candidate_1": "Water.", "choice": 1}
TRL = {"prompt": "What is dew?", "chosen": "Water.", "rejected": "Fog."}
RANKING = {"prompt": "What is dew?", "responses": ["Fog.", "Water.", "Rain."], "ranking": [1, 2, 0]}
FEEDBACK = {
    "feedback_id": "f1",
    "kind": "thumbs",
    "prompt_id": prompt_id("What is dew?"),
    "prompt": "What is dew?",
    "responses": [{"text": "Water."}],
    "value": 1,
    "labeler": "ann",
    "source": "user",
    "created_at": "2026-01-02T03:04:05Z",
}
PREFERENCE = {
    **TRL,
    "prompt_id": prompt_id("What is dew?"),
    "source": "label",
    "group_id": "g",
    "split": "train",
}


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def imported(record: dict[str, Any]) -> list[Feedback]:
    return import_record(record, "f.jsonl, line 1", Counter())


def better_and_worse(record: dict[str, Any]) -> tuple[Any, str, str]:
    (row,) = imported(record)
    assert row.kind == "pairwise"
    assert isinstance(row.value, int)
    return row.prompt, row.responses[row.value].text, row.responses[1 - row.value].text


@pytest.mark.parametrize(
    "record",
    [
        VERTEX,
        {**VERTEX, "source": "phi-2", "score": 3},
        TRL,
        {**TRL, "margin": 0.5},
        {**TRL, "chosen": [turn("assistant", "Water.")], "rejected": [turn("assistant", "Fog.")]},
        {
            "prompt": "What is dew?",
            "responses": [{"id": "a", "text": "Fog."}, {"id": "b", "text": "Water."}],
            "bestIndex": 1,
        },
        PREFERENCE,
    ],
)
def test_every_pair_form_says_which_answer_is_better(record: dict[str, Any]) -> None:
    assert better_and_worse(record) == ("What is dew?", "Water.", "Fog.")


def test_foreign_rows_are_of_one_external_labeler_and_have_no_time() -> None:
    (row,) = imported(VERTEX)
    assert (row.labeler, row.source, row.created_at) == ("external", "human", "1970-01-01T00:00:00+00:00")
    assert row.prompt_id == prompt_id("What is dew?")


def test_ids_follow_from_content_and_occurrence() -> None:
    seen: Counter[str] = Counter()
    (first,) = import_record(VERTEX, "a, line 1", seen)
    (other,) = import_record({**VERTEX, "choice": 0}, "a, line 2", seen)
    (second,) = import_record(VERTEX, "a, line 3", seen)
    (again,) = import_record({**VERTEX, "source": "other"}, "b, line 9", Counter())
    assert first.feedback_id == again.feedback_id
    assert len({first.feedback_id, other.feedback_id, second.feedback_id}) == 3


def test_labelers_and_sources_have_ids_of_their_own() -> None:
    def row(*given: Any) -> Feedback:
        return import_record(VERTEX, "a, line 1", Counter(), *given)[0]

    assert (row("ann", "user").labeler, row("ann", "user").source) == ("ann", "user")
    assert len({row().feedback_id, row("ann").feedback_id, row("bob").feedback_id, row("bob", "user").feedback_id}) == 4


POOL = [
    VERTEX,
    {**VERTEX, "choice": 0},
    {**VERTEX, "input_text": "What is dew? "},  # the same prompt id, another text
    TRL,
    {**RANKING, "responses": [{"id": f"g{number}", "text": text} for number, text in enumerate(RANKING["responses"])]},
    RANKING,
    {"prompt": "What is dew?", "responses": ["Water.", "Fog.", "Rain."], "bestIndex": 0},
    {"prompt": "What is dew?", "responses": ["Water.", "Fog.", "Fog."], "bestIndex": 0},
    PREFERENCE,
    {**PREFERENCE, "source": "user"},
]


@given(st.lists(st.sampled_from(POOL), min_size=1, max_size=15), st.randoms())
@settings(max_examples=60, deadline=None)
def test_a_shuffled_file_is_the_same_feedback(records: list[dict[str, Any]], random: Any) -> None:
    def rows(of: list[dict[str, Any]]) -> list[Feedback]:
        seen: Counter[str] = Counter()
        return [row for record in of for row in import_record(record, "here", seen)]

    shuffled = records[:]
    random.shuffle(shuffled)
    expected = {row.feedback_id: row for row in rows(records)}
    assert {row.feedback_id: row for row in rows(shuffled)} == expected
    assert len(expected) == len(rows(records))


def test_vertex_messages_and_context_become_turns() -> None:
    record = {
        **{field: VERTEX[field] for field in ("candidate_0", "candidate_1", "choice")},
        "context": "Be brief.",
        "messages": [
            {"author": "user", "content": "Hi"},
            {"author": "assistant", "content": "Hello"},
            {"author": "user", "content": "What is dew?"},
        ],
    }
    assert better_and_worse(record)[0] == [
        turn("system", "Be brief."),
        turn("user", "Hi"),
        turn("assistant", "Hello"),
        turn("user", "What is dew?"),
    ]


def test_a_vertex_context_beside_input_text_is_not_lost() -> None:
    prompt, _, _ = better_and_worse({**VERTEX, "context": "Be brief."})
    assert prompt == [turn("system", "Be brief."), turn("user", "What is dew?")]


def test_implicit_conversations_split_at_their_common_turns() -> None:
    opening = [turn("user", "What is dew?")]
    record = {"chosen": [*opening, turn("assistant", "Water.")], "rejected": [*opening, turn("assistant", "Fog.")]}
    assert better_and_worse(record) == (opening, "Water.", "Fog.")
    assert better_and_worse({**record, "prompt": "What is dew?"}) == (opening, "Water.", "Fog.")


def test_implicit_strings_split_at_their_common_prefix_before_a_blank() -> None:
    record = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
    assert better_and_worse(record) == ("The sky is", " blue.", " green.")


def test_a_ranking_keeps_its_order_and_ids() -> None:
    (row,) = imported({**RANKING, "responses": [{"id": "a", "text": "Fog."}, {"text": "Water."}, "Rain."]})
    assert (row.kind, row.value) == ("ranking", [1, 2, 0])
    assert [response.generation_id for response in row.responses] == ["a", None, None]


def test_a_best_index_compares_the_best_with_each_other_and_no_others() -> None:
    rows = imported({"prompt": "p", "responses": ["a", "b", "c", "b"], "bestIndex": 1})
    assert [[response.text for response in row.responses] for row in rows] == [["b", "a"], ["b", "c"]]
    assert len({row.feedback_id for row in rows}) == 2


def test_own_rows_stay_what_they_are() -> None:
    (row,) = imported(FEEDBACK)
    assert row == Feedback.model_validate(FEEDBACK)


def test_own_label_pairs_do_not_become_the_judgement_of_a_person() -> None:
    assert imported(PREFERENCE)[0].source == "auto"
    assert imported({**PREFERENCE, "source": "user"})[0].source == "user"


@pytest.mark.parametrize(
    "record",
    [
        {**VERTEX, "candidate_0": "Water. "},
        {**TRL, "rejected": "Water.\n"},
        {"chosen": "same", "rejected": "same"},
        {
            "chosen": [turn("user", "p"), turn("assistant", "a")],
            "rejected": [turn("user", "p"), turn("assistant", "a")],
        },
        {**RANKING, "responses": ["Fog.", "Fog.", " Fog."]},
    ],
)
def test_identical_texts_give_no_rows(record: dict[str, Any]) -> None:
    assert imported(record) == []


def without(record: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != field}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"question": "p", "answer": "a"}, r"no accepted form \(fields found: answer, question\); .*Vertex.*TRL.*rank"),
        ({}, r"fields found: none"),
        ({**VERTEX, **TRL}, "fits Vertex and TRL at once"),
        (without(VERTEX, "choice"), "field 'choice': is missing"),
        (without(VERTEX, "candidate_1"), "field 'candidate_1': is missing"),
        (without(VERTEX, "input_text"), "field 'input_text': is missing"),
        ({**VERTEX, "messages": []}, "field 'messages': is given beside 'input_text'"),
        ({**VERTEX, "choice": True}, "field 'choice': must be 0 or 1, got True"),
        ({**VERTEX, "choice": "1"}, "field 'choice': must be 0 or 1, got '1'"),
        ({**VERTEX, "choice": 1.0}, "field 'choice': must be 0 or 1, got 1.0"),
        ({**VERTEX, "choice": 2}, "field 'choice': must be 0 or 1, got 2"),
        ({**VERTEX, "choice": None}, "field 'choice': must be 0 or 1, got None"),
        ({**VERTEX, "input_text": " \n"}, "field 'input_text': is empty"),
        ({**VERTEX, "candidate_0": ""}, "field 'candidate_0': is empty"),
        ({**VERTEX, "candidate_0": 3}, r"field 'candidate_0': must be a text, got 3 \(int\)"),
        ({**VERTEX, "context": ""}, "field 'context': is empty"),
        (without(TRL, "rejected"), "field 'rejected': is missing"),
        ({**TRL, "prompt": 5}, "field 'prompt': must be a text or a list of turns"),
        ({**TRL, "prompt": []}, "field 'prompt': must be a list of turns"),
        ({**TRL, "prompt": [turn("assistant", "a")]}, "field 'prompt': the first and the last turn must be a user's"),
        ({**TRL, "prompt": [turn("system", "s")]}, "field 'prompt': the first and the last turn must be a user's"),
        (
            {**TRL, "prompt": [turn("user", "a"), turn("system", "s"), turn("user", "b")]},
            "field 'prompt': only the first turn may be a system turn",
        ),
        ({**TRL, "prompt": [turn("human", "a")]}, "field 'prompt.0.role': must be one of system, user, assistant"),
        ({**TRL, "prompt": [{"role": "user"}]}, "field 'prompt.0.content': is missing"),
        ({**TRL, "prompt": ["a"]}, "field 'prompt.0': must be a turn"),
        ({**TRL, "chosen": [turn("assistant", "a")]}, "field 'chosen': must be a text"),
        (
            {**TRL, "chosen": [turn("user", "a")], "rejected": [turn("assistant", "b")], "prompt": [turn("user", "p")]},
            "field 'chosen': one assistant turn must follow the prompt, got user",
        ),
        ({"chosen": "Blue", "rejected": "Green"}, "field 'chosen': does not begin like 'rejected'"),
        ({"chosen": "Blue", "rejected": "Blue sky"}, "field 'chosen': is a prefix of the other text"),
        ({"chosen": [turn("user", "a")], "rejected": [turn("user", "b")]}, "field 'chosen': does not begin like"),
        (without(RANKING, "prompt"), "field 'prompt': is missing"),
        (without(RANKING, "ranking"), "field 'ranking': is missing"),
        ({**RANKING, "ranking": [1, 2, 3]}, "field 'ranking': must hold the positions 0 to 2"),
        ({**RANKING, "ranking": [1, 1, 0]}, "field 'ranking'"),
        ({**RANKING, "ranking": [True, 2, 0]}, "field 'ranking'"),
        ({**RANKING, "ranking": "1"}, "field 'ranking'"),
        ({**RANKING, "bestIndex": 0}, "field 'bestIndex': is 0, but 'ranking' puts 1 first"),
        ({**RANKING, "bestIndex": 3}, "field 'bestIndex': must be a whole number from 0 to 2"),
        ({**RANKING, "responses": ["a"]}, "field 'responses': must be a list of two or more"),
        ({**RANKING, "responses": ["a", "", "c"]}, "field 'responses.1': is empty"),
        ({**RANKING, "responses": ["a", {"id": "x"}, "c"]}, "field 'text': is missing"),
        ({**RANKING, "responses": ["a", {"id": 1, "text": "b"}, "c"]}, "field 'responses.1.id': must be a text"),
        ({**FEEDBACK, "extra": 1}, "field 'extra'"),
        (without(FEEDBACK, "labeler"), "field 'labeler'"),
        (without(FEEDBACK, "feedback_id"), "field 'feedback_id'"),
        ({**FEEDBACK, "value": True}, "field 'value'"),
        ({**FEEDBACK, "value": 2}, "the value of a thumbs is -1 or 1, got 2"),
        ({**FEEDBACK, "responses": [{"text": " "}]}, "field 'responses.0.text': is empty"),
        ({**FEEDBACK, "prompt_id": "x"}, "field 'prompt_id': is not the id of this prompt"),
        ({**PREFERENCE, "extra": 1}, "field 'extra'"),
        ({**PREFERENCE, "chosen": ""}, "field 'chosen': is empty"),
    ],
)  # fmt: skip
def test_a_wrong_record_is_named_by_file_line_and_field(record: dict[str, Any], expected: str) -> None:
    with pytest.raises(PreflowError, match=f"^f.jsonl, line 1.*{expected}"):
        imported(record)


def write(path: Path, *records: Any) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_a_file_may_mix_forms_and_identical_texts_are_counted(tmp_path: Path) -> None:
    uri = write(tmp_path / "p.jsonl", VERTEX, TRL, FEEDBACK, {**VERTEX, "candidate_1": "Fog."})
    rows, identical = read_preferences(uri)
    assert [where for where, _ in rows] == [f"{uri}, line {number}" for number in (1, 2, 3)]
    assert identical == 1


def test_an_instruction_opens_every_prompt_that_has_no_system_turn(tmp_path: Path) -> None:
    own = [turn("system", "Rhyme."), turn("user", "Hi")]
    rows, _ = read_preferences(write(tmp_path / "p.jsonl", TRL, {**TRL, "prompt": own}), "Be brief.")
    prompts = [row.prompt for _, row in rows]
    assert prompts == [[turn("system", "Be brief."), turn("user", "What is dew?")], own]
    assert [row.prompt_id for _, row in rows] == [prompt_id(prompt) for prompt in prompts]


def test_an_id_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match="line 2: field 'feedback_id': 'f1' is in the file twice"):
        read_preferences(write(tmp_path / "p.jsonl", FEEDBACK, {**FEEDBACK, "value": -1}))


def test_the_packaged_feedback_reads() -> None:
    rows, identical = read_preferences("packaged:example-feedback")
    assert {row.source for _, row in rows} == {"example"}
    assert identical == 0


def test_a_whole_file_reads_and_serves_as_prompts_with_the_same_ids_and_splits() -> None:
    rows, identical = read_preferences(str(PREFERENCES))
    assert (len(rows), identical) == (60, 0)
    assert len({row.feedback_id for _, row in rows}) == 60
    prompts = {row.prompt_id: row.split for _, row in read_prompts(str(PREFERENCES))}
    assert prompts.keys() == {row.prompt_id for _, row in rows}
    assert Counter(prompts.values()) == {"train": 16, "validation": 13}
