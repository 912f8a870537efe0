"""Ids, digests and splits depend on what they name, and on nothing else."""

import uuid
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflow.identity import (
    digest_bytes,
    digest_files,
    digest_json,
    generation_id,
    is_held_out,
    normalise,
    prompt_id,
    split_of,
    with_instruction,
)
from preflow.rows import Message


def test_a_prompt_has_one_id_in_every_form() -> None:
    expected = prompt_id("Café?")
    assert len(expected) == 32
    assert prompt_id([Message(role="user", content="Café?")]) == expected
    assert prompt_id("  Cafe\u0301?\r\n") == expected
    assert prompt_id("café?") != expected
    assert prompt_id([Message(role="system", content="Café?")]) != expected


def test_ids_are_the_same_for_ever() -> None:
    # Rows in people's databases carry these: a change here orphans them and moves prompts between splits.
    assert prompt_id("What is dew?") == "e901009b27821d4d1755fbaf4eacd1fd"
    assert generation_id("p", "m", {"seed": 0}, 1) == "1f92eb6e-3689-5ece-856e-4fc825a5d620"
    assert [split_of(name) for name in ("0", "7", "1")] == ["train", "validation", "validation"]
    assert [is_held_out(name) for name in ("0", "7", "1")] == [False, False, True]


def test_a_generation_is_told_apart_by_each_of_its_parts() -> None:
    parts = [
        generation_id("p", "m", {"seed": 0, "temperature": 1.0}, 0),
        generation_id("q", "m", {"seed": 0, "temperature": 1.0}, 0),
        generation_id("p", "n", {"seed": 0, "temperature": 1.0}, 0),
        generation_id("p", "m", {"seed": 1, "temperature": 1.0}, 0),
        generation_id("p", "m", {"seed": 0, "temperature": 1.0}, 1),
    ]
    assert len(set(parts)) == 5
    assert uuid.UUID(parts[0]).version == 5
    assert generation_id("p", "m", {"temperature": 1.0, "seed": 0}, 0) == parts[0]


def test_splits_have_the_promised_shares() -> None:
    counts = Counter((split_of(str(number)), is_held_out(str(number))) for number in range(4000))
    assert counts["train", False] / 4000 == pytest.approx(0.60, abs=0.03)
    assert counts["validation", False] / 4000 == pytest.approx(0.15, abs=0.03)
    assert counts["validation", True] / 4000 == pytest.approx(0.25, abs=0.03)
    assert counts["train", True] == 0


def test_a_prompt_is_test_if_the_run_judges_with_it_and_only_then() -> None:
    names = [str(number) for number in range(40)]
    assert {split_of(name, eval_ids=names) for name in names} == {"test"}
    assert {split_of(name, eval_ids=["40"]) for name in names} == {"train", "validation"}


def test_an_instruction_becomes_the_system_turn_of_prompts_that_have_none() -> None:
    user, own = Message(role="user", content="Hi"), Message(role="system", content="Rhyme.")
    assert with_instruction("Hi", "Be brief.") == [Message(role="system", content="Be brief."), user]
    assert with_instruction([own, user], "Be brief.") == [own, user]
    assert with_instruction("Hi", "") == "Hi"
    once = with_instruction("Hi", "Be brief.")
    assert with_instruction(once, "Be brief.") == once


@given(st.text(max_size=20))
@settings(max_examples=60, deadline=None)
def test_normalised_text_has_no_outer_blanks(text: str) -> None:
    assert normalise(text) == normalise(text).strip()
    assert normalise(f" {text}\n") == normalise(text)


def test_digests_ignore_the_order_of_keys_and_see_every_value() -> None:
    assert digest_json({"a": 1, "b": [2]}) == digest_json({"b": [2], "a": 1})
    assert digest_json({"a": 1}) != digest_json({"a": 2})
    assert digest_bytes(b"") == "e3b0c44298fc1c149afbf4c8996fb924"


def test_a_digest_of_files_sees_names_and_contents_but_not_their_folder(tmp_path: Path) -> None:
    def digest(folder: str, **contents: str) -> str:
        (tmp_path / folder).mkdir()
        for name, content in contents.items():
            (tmp_path / folder / name).write_text(content)
        paths = sorted((tmp_path / folder).iterdir(), reverse=folder == "b")
        return digest_files(paths, tmp_path / folder)

    first = digest("a", x="1", y="2")
    assert digest("b", x="1", y="2") == first
    assert digest("c", x="1", y="3") != first
    assert digest("d", x="1", z="2") != first
