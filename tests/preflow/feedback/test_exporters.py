"""A pair that is written in a foreign form is read back as the same pair."""

from collections import Counter
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from preflow.feedback.exporters import TrlForm, to_ranking, to_trl, to_vertex
from preflow.feedback.importers import import_record
from preflow.identity import normalise, prompt_id, split_of
from preflow.rows import Feedback, JudgedResponse, Message, Preference, PromptText

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda text: text.strip())
ROUNDS = settings(max_examples=60, deadline=None)


@st.composite
def prompts(draw: st.DrawFn) -> PromptText:
    if draw(st.booleans()):
        return draw(TEXTS)
    system = [Message(role="system", content=draw(TEXTS))] if draw(st.booleans()) else []
    turns = [Message(role="user", content=draw(TEXTS))]
    for _ in range(draw(st.integers(0, 2))):
        turns += [Message(role="assistant", content=draw(TEXTS)), Message(role="user", content=draw(TEXTS))]
    return [*system, *turns]


@st.composite
def preferences(draw: st.DrawFn) -> Preference:
    prompt, chosen, rejected = draw(prompts()), draw(TEXTS), draw(TEXTS)
    assume(normalise(chosen) != normalise(rejected))
    return pair(prompt, chosen, rejected)


def pair(prompt: PromptText, chosen: str, rejected: str, **fields: Any) -> Preference:
    identity = prompt_id(prompt)
    made = {"prompt_id": identity, "source": "human", "group_id": "g", "split": split_of(identity), **fields}
    return Preference(prompt=prompt, chosen=chosen, rejected=rejected, **made)


def back(record: dict[str, Any]) -> tuple[Feedback, str, str]:
    (row,) = import_record(record, "here", Counter())
    assert isinstance(row.value, int)
    return row, row.responses[row.value].text, row.responses[1 - row.value].text


@ROUNDS
@given(preferences())
def test_vertex_rows_read_back(preference: Preference) -> None:
    row, better, worse = back(to_vertex(preference))
    assert (row.prompt, better, worse) == (preference.prompt, preference.chosen, preference.rejected)


@ROUNDS
@given(preferences(), st.sampled_from(get_args(TrlForm)))
def test_trl_rows_read_back(preference: Preference, form: TrlForm) -> None:
    assume(form != "implicit" or not isinstance(preference.prompt, str))
    row, better, worse = back(to_trl(preference, form))
    assert (row.prompt_id, better, worse) == (preference.prompt_id, preference.chosen, preference.rejected)
    if form in ("explicit", "implicit"):
        assert row.prompt == preference.prompt


@ROUNDS
@given(TEXTS, TEXTS, TEXTS)
def test_implicit_strings_keep_all_text(prompt: str, chosen: str, rejected: str) -> None:
    assume(chosen[0] != rejected[0] and chosen.strip() == chosen and rejected.strip() == rejected)
    row, better, worse = back(to_trl(pair(prompt, chosen, rejected), "implicit"))
    assert (row.prompt_id, better, worse) == (prompt_id(prompt), chosen, rejected)


def test_implicit_strings_lose_what_two_answers_begin_with_to_the_prompt() -> None:
    row, better, worse = back(to_trl(pair("Sky?", "It is blue.", "It is red."), "implicit"))
    assert (row.prompt, better, worse) == ("Sky?\n\nIt is", " blue.", " red.")


def test_the_position_in_vertex_rows_does_not_reveal_the_choice() -> None:
    choices = [to_vertex(pair(f"Question {number}?", "good", "bad"))["choice"] for number in range(200)]
    assert 70 < sum(choices) < 130


def test_explicit_form_follows_the_prompt() -> None:
    assert to_trl(pair("p", "a", "b")) == {"prompt": "p", "chosen": "a", "rejected": "b"}
    turns = [Message(role="user", content="p")]
    expected = {
        "prompt": turns,
        "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}],
    }
    assert to_trl(pair(turns, "a", "b")) == expected
    assert to_trl(pair("p", "a", "b"), "explicit-conversational") == expected


@pytest.mark.parametrize(("gap", "margin"), [(0.25, 0.25), (None, 0.0)])
def test_a_margin_is_added_only_on_request(gap: float | None, margin: float) -> None:
    preference = pair("p", "a", "b", score_gap=gap)
    assert "margin" not in to_trl(preference)
    assert to_trl(preference, with_margin=True)["margin"] == margin


@ROUNDS
@given(st.lists(TEXTS, min_size=2, max_size=5, unique_by=normalise), st.booleans(), st.randoms())
def test_rankings_read_back(texts: list[str], named: bool, random: Any) -> None:
    order = list(range(len(texts)))
    random.shuffle(order)
    responses = [
        JudgedResponse(text=text, generation_id=f"g{number}" if named else None) for number, text in enumerate(texts)
    ]
    feedback = Feedback(
        feedback_id="f", kind="ranking", prompt_id=prompt_id("p"), prompt="p", responses=responses, value=order,
        labeler="ann", source="human", created_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    (row,) = import_record(to_ranking(feedback), "here", Counter())
    assert (row.responses, row.value) == (feedback.responses, feedback.value)
