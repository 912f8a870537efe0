from collections.abc import Callable
from typing import Any

import pytest

from preflow.rows import Evaluation, Generation
from preflow.store import Connection, insert_generations, list_runs, record_run, store_id

A = "00000000-0000-5000-8000-00000000000a"
B = "00000000-0000-5000-8000-00000000000b"


def evaluation(prompt_id: str) -> Evaluation:
    answer = {"response": "Water.", "tokens": 2, "finish_reason": "stop", "scores": {"length": None}}
    return Evaluation(prompt_id=prompt_id, prompt="What is dew?", answers={"base": answer, "tuned": answer})  # type: ignore[dict-item]


def record(store: Connection, run_id: str = "r1", **changes: Any) -> None:
    fields: dict[str, Any] = {
        "pipeline": "rlhf",
        "parameters": {"kl_coeff": 0.05},
        "metrics": {"win_rate": 0.625, "kl": float("nan")},
        "promoted": False,
        "reason": "KL too high",
        "report_uri": "runs/r1/report.html",
        "policy_uri": "runs/r1/policy",
        "feedback_watermark": "0",
        "generation_ids": [A, B, A],
        "evaluations": [evaluation("p2"), evaluation("p1"), evaluation("p2")],
    }
    record_run(store, run_id=run_id, **(fields | changes))


def rows_of(store: Connection, query: str) -> list[tuple[Any, ...]]:
    with store, store.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def test_run_is_recorded_with_answers_and_evaluations(store: Connection) -> None:
    record(store)
    (run,) = list_runs(store)
    assert (run.run_id, run.pipeline, run.promoted, run.promotion_reason) == ("r1", "rlhf", False, "KL too high")
    assert run.parameters == {"kl_coeff": 0.05}
    assert run.metrics == {"win_rate": 0.625, "kl": None}
    members = rows_of(store, "SELECT run_id, generation_id::text FROM run_generations ORDER BY generation_id")
    assert members == [("r1", A), ("r1", B)]
    rows = rows_of(store, "SELECT prompt_id, row FROM evaluations ORDER BY place")
    assert [prompt_id for prompt_id, _ in rows] == ["p2", "p1", "p2"]
    assert Evaluation.model_validate(rows[0][1]) == evaluation("p2")


def test_recording_again_replaces_and_keeps_the_time(store: Connection) -> None:
    record(store)
    (first,) = list_runs(store)
    record(store, promoted=True, generation_ids=[B], evaluations=[evaluation("p3")])
    (again,) = list_runs(store)
    assert again.promoted
    assert again.finished_at == first.finished_at
    assert rows_of(store, "SELECT generation_id::text FROM run_generations") == [(B,)]
    assert rows_of(store, "SELECT prompt_id FROM evaluations") == [("p3",)]


def test_latest_run_comes_first(store: Connection) -> None:
    record(store, "r1")
    record(store, "r2")
    assert [run.run_id for run in list_runs(store)] == ["r2", "r1"]


@pytest.mark.parametrize("emptying", ["DELETE FROM llm_logs", "TRUNCATE llm_logs CASCADE"])
def test_emptied_log_is_another_store(
    store: Connection, make_generation: Callable[..., Generation], emptying: str
) -> None:
    first = store_id(store)
    insert_generations(store, [make_generation()])
    assert store_id(store) == first
    rows_of(store, f"{emptying}; SELECT 1")
    assert store_id(store) != first
    assert rows_of(store, "SELECT count(*) FROM store_meta") == [(1,)]
