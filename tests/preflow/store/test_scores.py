from collections.abc import Callable

import psycopg2
import pytest

from preflow.errors import PreflowError
from preflow.rows import ScoredGeneration
from preflow.store import Connection, insert_generations, select_scores, write_scores
from preflow.store.generations import Generation

Make = Callable[..., ScoredGeneration]


def reward_scores(store: Connection) -> list[float | None]:
    with store, store.cursor() as cursor:
        cursor.execute("SELECT reward_score FROM llm_logs ORDER BY sample")
        return [score for (score,) in cursor.fetchall()]


@pytest.fixture
def logged(store: Connection, make_generation: Callable[..., Generation]) -> Connection:
    """A store with two answers in the log."""
    insert_generations(store, [make_generation(0), make_generation(1)])
    return store


def test_scores_are_written_and_found_by_scorer(logged: Connection, make_scored: Make) -> None:
    row, other = make_scored(0, reward_score=0.1 + 0.2), make_scored(1)
    assert write_scores(logged, [row]) == 2
    ids = [row.generation_id, other.generation_id]
    assert select_scores(logged, ids, "s1") == {ids[0]: {"length": (0.25, None), "similarity": (None, "no reference")}}
    assert select_scores(logged, ids, "s2") == {}
    assert reward_scores(logged) == [0.30000000000000004, None]


def test_writing_again_replaces(logged: Connection, make_scored: Make) -> None:
    write_scores(logged, [make_scored(0)])
    again = make_scored(0, scores={"length": 0.5}, score_reasons={}, reward_score=0.5)
    assert write_scores(logged, [make_scored(0), again]) == 1  # of an answer given twice, the last counts
    found = select_scores(logged, [again.generation_id], "s1")[again.generation_id]
    assert found == {"length": (0.5, None), "similarity": (None, "no reference")}
    assert reward_scores(logged) == [0.5, None]
    assert write_scores(logged, []) == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"score_reasons": {}}, "neither a score nor a reason"),
        ({"scores": {"length": float("nan")}}, "metric 'length' is nan"),
        ({"reward_score": float("inf")}, "reward score is inf"),
    ],
)
def test_scores_without_a_finite_value_or_reason_are_refused(
    logged: Connection, make_scored: Make, changes: dict[str, object], says: str
) -> None:
    with pytest.raises(PreflowError, match=says):
        write_scores(logged, [make_scored(0, **changes)])


def test_an_answer_outside_the_log_is_an_error_and_nothing_is_written(logged: Connection, make_scored: Make) -> None:
    with pytest.raises(PreflowError, match="1 of 2 scored generations are not in the log"):
        write_scores(logged, [make_scored(0), make_scored(7)])
    assert reward_scores(logged) == [None, None]


def test_table_refuses_a_score_without_value_and_reason(logged: Connection, make_scored: Make) -> None:
    with pytest.raises(psycopg2.errors.CheckViolation), logged, logged.cursor() as cursor:
        cursor.execute("INSERT INTO scores VALUES (%s, 'm', 's')", (make_scored(0).generation_id,))
