from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from preflow.errors import PreflowError
from preflow.rows import Generation
from preflow.store import Connection, connect, existing_generation_ids, insert_generations, select_generations, sql

Make = Callable[..., Generation]
CHAT: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "What is dew?"},
]


def test_answers_are_read_back_exactly_in_the_order_of_the_ids(store: Connection, make_generation: Make) -> None:
    rows = [
        make_generation(0, generation_time=0.1 + 0.2, sampling={"temperature": 1 / 3, "top_p": 1.0, "stop": None}),
        make_generation(1, prompt=CHAT, response="", finish_reason="length"),
        make_generation(2, prompt=[{"role": "user", "content": "What is dew?"}], generation_time=5e-324),
        make_generation(3, prompt=" \r\n😀 50% \\ 'quoted'\t", response="100 %s"),
    ]
    assert insert_generations(store, rows) == 4
    back = [rows[2], rows[0], rows[3], rows[1], rows[0]]
    found = select_generations(store, [row.generation_id for row in back])
    assert found == back
    assert [row.generation_time for row in found] == [5e-324, 0.30000000000000004, 0.1, 0.1, 0.30000000000000004]
    assert isinstance(found[1].prompt, str) and isinstance(found[0].prompt, list)


def test_an_answer_in_the_log_stays_unchanged(store: Connection, make_generation: Make) -> None:
    first = make_generation(0)
    assert insert_generations(store, [first, first]) == 1
    assert insert_generations(store, [make_generation(0, response="other"), make_generation(1)]) == 1
    assert insert_generations(store, []) == 0
    assert select_generations(store, [first.generation_id]) == [first]


def test_existing_ids(store: Connection, make_generation: Make) -> None:
    rows = [make_generation(sample) for sample in range(3)]
    insert_generations(store, rows[:2])
    ids = [row.generation_id for row in rows]
    assert existing_generation_ids(store, ids) == set(ids[:2])
    assert existing_generation_ids(store, []) == set()


def test_many_ids_go_in_chunks(store: Connection, make_generation: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "CHUNK", 4)
    monkeypatch.setattr(sql, "_PAGE", 3)
    rows = [make_generation(sample) for sample in range(10)]
    assert insert_generations(store, rows) == 10
    ids = [row.generation_id for row in rows]
    assert select_generations(store, ids) == rows
    assert existing_generation_ids(store, ids) == set(ids)


def test_missing_answers_are_counted_and_the_first_is_named(store: Connection, make_generation: Make) -> None:
    rows = [make_generation(sample) for sample in range(2)]
    insert_generations(store, rows[:1])
    with pytest.raises(PreflowError, match=f"1 of 2 generations are missing, first {rows[1].generation_id}"):
        select_generations(store, [row.generation_id for row in rows])


def test_ids_that_are_not_uuids_are_refused(store: Connection, make_generation: Make) -> None:
    for wrong in ("g1", make_generation().generation_id.upper()):
        with pytest.raises(PreflowError, match="is not a UUID"):
            insert_generations(store, [make_generation(generation_id=wrong)])
        with pytest.raises(PreflowError, match="is not a UUID"):
            select_generations(store, [wrong])


def test_nul_is_replaced_in_texts_and_json(store: Connection, make_generation: Make) -> None:
    row = make_generation(
        prompt=[{"role": "user", "content": "a\x00b"}], response="c\x00d", sampling={"stop": ["\x00"]}
    )
    insert_generations(store, [row])
    (found,) = select_generations(store, [row.generation_id])
    assert found.prompt == [{"role": "user", "content": "a\ufffdb"}]
    assert found.response == "c\ufffdd"
    assert found.sampling == {"stop": ["\ufffd"]}


def test_log_shows_the_columns_people_expect(store: Connection, make_generation: Make) -> None:
    insert_generations(store, [make_generation(0, prompt=CHAT)])
    with store, store.cursor() as cursor:
        cursor.execute(
            "SELECT id, prompt, response, model_name, token_count, generation_time, reward_score FROM llm_logs"
        )
        assert cursor.fetchall() == [(1, "What is dew?", "Water, 0.", "tiny", 9, 0.1, None)]
        cursor.execute("SELECT prompt_tokens, completion_tokens FROM llm_logs")
        assert cursor.fetchall() == [(5, 4)]


@pytest.mark.parametrize(
    ("prompt", "text"),
    [("plain", "plain"), (CHAT, "What is dew?"), ([{"role": "system", "content": "s"}], "s"), ([], "")],
)
def test_the_prompt_column_is_the_last_user_turn(
    store: Connection, make_generation: Make, prompt: Any, text: str
) -> None:
    insert_generations(store, [make_generation(0, prompt=prompt)])
    with store, store.cursor() as cursor:
        cursor.execute("SELECT prompt FROM llm_logs")
        assert cursor.fetchall() == [(text,)]


def test_two_writers_of_the_same_answers_do_not_deadlock(database_url: str, make_generation: Make) -> None:
    rows = [make_generation(sample) for sample in range(600)]
    with connect(database_url) as one, connect(database_url) as two, ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(insert_generations, [one, two], [rows, rows[::-1]]))
    assert sum(counts) == 600
