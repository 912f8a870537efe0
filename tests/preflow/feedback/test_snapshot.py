"""The snapshot holds the feedback below the watermark, and nothing later."""

from pathlib import Path

import pytest

from preflow import store
from preflow.errors import PreflowError
from preflow.feedback.snapshot import feedback_snapshot
from preflow.identity import prompt_id, with_instruction
from preflow.rows import Feedback, JudgedResponse, read_rows


def thumbs(name: str) -> Feedback:
    return Feedback(
        feedback_id=name, kind="thumbs", prompt_id="p", prompt="Dew?", responses=[JudgedResponse(text="Dew.")],
        value=1, labeler="ann", source="human", created_at="2026-01-01T00:00:00Z",
    )  # fmt: skip


def test_a_snapshot_does_not_change_when_feedback_arrives(database_url: str, tmp_path: Path) -> None:
    with store.connect(database_url) as connection:
        store.append_feedback(connection, [thumbs("f1"), thumbs("f2")])
        watermark = store.feedback_watermark(connection)
        store.append_feedback(connection, [thumbs("f3")])
    summary = feedback_snapshot(database_url=database_url, feedback_watermark=watermark, output=tmp_path / "f")
    assert summary == {"rows": 2, "by_kind": {"thumbs": 2}}
    assert read_rows(tmp_path / "f", Feedback) == [thumbs("f1"), thumbs("f2")]


def test_an_empty_snapshot_is_an_empty_file(database_url: str, tmp_path: Path) -> None:
    summary = feedback_snapshot(database_url=database_url, feedback_watermark="0", output=tmp_path / "f")
    assert summary == {"rows": 0, "by_kind": {}}
    assert (tmp_path / "f").read_text() == ""


def test_a_watermark_that_was_never_taken_is_refused(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(PreflowError, match="watermark"):
        feedback_snapshot(database_url=database_url, feedback_watermark="", output=tmp_path / "f")
    assert not (tmp_path / "f").exists()


def test_prompts_get_the_instruction_that_the_datasets_get(database_url: str, tmp_path: Path) -> None:
    own = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Dew?"}]
    with store.connect(database_url) as connection:
        store.append_feedback(connection, [thumbs("f1"), thumbs("f2").model_copy(update={"prompt": own})])
        watermark = store.feedback_watermark(connection)
    feedback_snapshot(
        database_url=database_url, feedback_watermark=watermark, output=tmp_path / "f", instruction="Be brief."
    )
    plain, chat = read_rows(tmp_path / "f", Feedback)
    assert plain.prompt == with_instruction("Dew?", "Be brief.")
    assert plain.prompt_id == prompt_id(with_instruction("Dew?", "Be brief."))
    assert (chat.prompt, chat.prompt_id) == (own, prompt_id(own))
