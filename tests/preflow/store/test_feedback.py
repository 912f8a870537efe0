from collections.abc import Callable
from typing import Any

import psycopg2
import pytest

from preflow.errors import PreflowError
from preflow.rows import Feedback
from preflow.store import (
    Connection,
    append_feedback,
    connect,
    feedback_watermark,
    read_feedback,
)

Make = Callable[..., Feedback]
ONE, TWO, THREE = ([{"text": str(number)} for number in range(count)] for count in (1, 2, 3))


def horizon_of(store: Connection) -> int:
    with store, store.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        return int(cursor.fetchone()[0])


def ids(rows: list[Feedback]) -> list[str]:
    return [row.feedback_id for row in rows]


@pytest.mark.parametrize(
    ("kind", "responses", "value"),
    [
        ("thumbs", ONE, 1),
        ("thumbs", ONE, -1),
        ("rating", ONE, 4),
        ("rating", ONE, 3.5),
        ("correction", ONE, "Better."),
        ("pairwise", TWO, 0),
        ("pairwise", TWO, None),
        ("ranking", THREE, [2, 0, 1]),
    ],
)
def test_sound_feedback_is_read_back_unchanged(
    store: Connection, make_feedback: Make, kind: str, responses: Any, value: Any
) -> None:
    row = make_feedback(kind=kind, responses=responses, value=value, shown_order=list(range(len(responses)))[::-1])
    assert append_feedback(store, [row]) == 1
    assert read_feedback(store, feedback_watermark(store)) == [row]


def test_same_again_is_left_out_and_another_body_refused(store: Connection, make_feedback: Make) -> None:
    row = make_feedback("f1", comment="a\x00b", prompt=[{"role": "user", "content": "Dew?"}])
    assert append_feedback(store, [row, row]) == 1
    assert append_feedback(store, [row, make_feedback("f2")]) == 1
    later = row.model_copy(update={"created_at": "2027-01-01T00:00:00Z"})
    assert append_feedback(store, [later]) == 0
    with pytest.raises(PreflowError, match="'f2'.*another body"):
        append_feedback(store, [make_feedback("f3"), make_feedback("f2", value=-1)])
    with pytest.raises(PreflowError, match="'f4'.*another body"):
        append_feedback(store, [make_feedback("f4"), make_feedback("f4", value=-1)])
    found = read_feedback(store, feedback_watermark(store))
    assert ids(found) == ["f1", "f2"]
    assert found[0].created_at == row.created_at
    assert append_feedback(store, []) == 0


def test_times_come_back_in_utc(store: Connection, make_feedback: Make) -> None:
    append_feedback(store, [make_feedback("f1", created_at="2026-01-02T03:04:05.25+02:00")])
    append_feedback(store, [make_feedback("f2", created_at="2026-01-02T03:04:05")])
    found = read_feedback(store, feedback_watermark(store))
    assert [row.created_at for row in found] == ["2026-01-02T01:04:05.250000Z", "2026-01-02T03:04:05Z"]


@pytest.mark.parametrize("change", ["UPDATE feedback SET comment = 'x'", "DELETE FROM feedback", "TRUNCATE feedback"])
def test_feedback_is_append_only(store: Connection, make_feedback: Make, change: str) -> None:
    append_feedback(store, [make_feedback()])
    with pytest.raises(psycopg2.Error, match=f"feedback is append-only: {change.split()[0]} is refused"):
        with store, store.cursor() as cursor:
            cursor.execute(change)
    assert len(read_feedback(store, feedback_watermark(store))) == 1


def test_watermark_moves_only_with_feedback(store: Connection, make_feedback: Make) -> None:
    assert feedback_watermark(store) == "0"
    assert read_feedback(store, "0") == []
    append_feedback(store, [make_feedback("f1")])
    first = feedback_watermark(store)
    horizon = horizon_of(store)
    with store, store.cursor() as cursor:  # a transaction that has nothing to do with feedback
        cursor.execute("CREATE TABLE elsewhere (x int)")
    assert feedback_watermark(store) == first
    assert horizon_of(store) > horizon >= int(first)
    append_feedback(store, [make_feedback("f2")])
    assert int(feedback_watermark(store)) > int(first)
    assert ids(read_feedback(store, first)) == ["f1"]
    assert ids(read_feedback(store, feedback_watermark(store))) == ["f1", "f2"]


def test_order_is_by_transaction_then_id(store: Connection, make_feedback: Make) -> None:
    append_feedback(store, [make_feedback("z"), make_feedback("B"), make_feedback("a")])
    append_feedback(store, [make_feedback("A")])
    assert ids(read_feedback(store, feedback_watermark(store))) == ["B", "a", "z", "A"]


def test_transaction_that_commits_late_is_neither_lost_nor_half_seen(
    store: Connection, database_url: str, make_feedback: Make
) -> None:
    append_feedback(store, [make_feedback("settled")])
    insert = """
        INSERT INTO feedback (feedback_id, kind, prompt_id, prompt, responses, value, labeler, source, created_at)
        VALUES (%s, 'thumbs', 'p1', '"What is dew?"', '[{"text": "Water."}]', '1', 'ada', 'human', now())"""
    with connect(database_url) as slow:
        slow.cursor().execute(insert, ("slow-1",))  # takes its transaction id now
        append_feedback(store, [make_feedback("quick")])  # takes a later id, and commits first
        before, horizon = feedback_watermark(store), str(horizon_of(store))
        assert ids(read_feedback(store, before)) == ["settled"]
        assert ids(read_feedback(store, horizon)) == ["settled"]
        slow.cursor().execute(insert, ("slow-2",))
        slow.commit()
    assert ids(read_feedback(store, before)) == ["settled"]
    assert ids(read_feedback(store, horizon)) == ["settled"]
    assert ids(read_feedback(store, feedback_watermark(store))) == ["settled", "slow-1", "slow-2", "quick"]


@pytest.mark.parametrize("watermark", ["", "-1", "later", "1.5", "99999999999999999999"])
def test_watermark_that_is_no_transaction_id_is_refused(store: Connection, watermark: str) -> None:
    with pytest.raises(PreflowError, match="^`feedback_watermark`: .* is not a transaction id"):
        read_feedback(store, watermark)


def test_watermark_above_the_horizon_is_refused(store: Connection) -> None:
    with pytest.raises(PreflowError, match="^`feedback_watermark`: .* is above the horizon"):
        read_feedback(store, str(horizon_of(store) + 1000))


def test_transaction_ids_of_another_server_are_an_error_with_a_remedy_that_works(
    store: Connection, make_feedback: Make
) -> None:
    append_feedback(store, [make_feedback()])
    with store, store.cursor() as cursor:
        cursor.execute("ALTER TABLE feedback DISABLE TRIGGER USER")
        cursor.execute("UPDATE feedback SET xid = '4000000000'")
        cursor.execute("ALTER TABLE feedback ENABLE TRIGGER USER")
    with pytest.raises(PreflowError, match="restored dump") as caught:
        feedback_watermark(store)
    with store, store.cursor() as cursor:
        cursor.execute(str(caught.value).partition("run: ")[2])
    assert ids(read_feedback(store, feedback_watermark(store))) == ["f1"]
