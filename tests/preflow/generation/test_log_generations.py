"""Every answer is sampled and logged once, however often the step is killed, and the artifact is what the log holds."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from preflow.errors import PreflowError
from preflow.generation import log_generations as module
from preflow.generation.batches import uniforms_of
from preflow.generation.config import GenerationConfig, check
from preflow.generation.log_generations import log_generations
from preflow.identity import generation_id, is_held_out, split_of
from preflow.rows import Generation, ScoredGeneration, read_rows
from preflow.scoring.auto_score import auto_score

pytestmark = pytest.mark.usefixtures("exact")
Log = Callable[..., dict[str, Any]]
PROMPTS, SAMPLES = 6, 2

# The step in a process of its own, slow enough to be killed half-way.
_SLOW = """
import sys, time
from pathlib import Path
from preflow.generation import batches
from preflow.generation.config import GenerationConfig
from preflow.generation.log_generations import log_generations

sampled = batches.sample
def slow(*arguments, **settings):
    time.sleep(0.1)
    return sampled(*arguments, **settings)
batches.sample = slow
prompts, model, url, output = sys.argv[1:]
log_generations(
    prompts=Path(prompts), model=model, database_url=url, output=Path(output),
    config=GenerationConfig(num_samples=2, temperature=1.0, target_sequence_length=8, batch_size=1),
)
"""


@pytest.fixture
def log(policy_folder: Path, database_url: str, prompt_file: Callable[..., Path], tmp_path: Path) -> Log:
    prompts = prompt_file(PROMPTS, split="train")

    def run(**given: Any) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "prompts": prompts,
            "model": str(policy_folder),
            "database_url": database_url,
            "output": tmp_path / "generations.jsonl",
        }
        options = {name: given.pop(name) for name in GenerationConfig.model_fields if name in given}
        defaults = {"num_samples": SAMPLES, "temperature": 1.0, "target_sequence_length": 8, "batch_size": 4}
        return log_generations(**{**settings, **given}, config=GenerationConfig(**{**defaults, **options}))

    return run


@pytest.fixture
def artifact(tmp_path: Path) -> Callable[[], list[Generation]]:
    return lambda: read_rows(tmp_path / "generations.jsonl", Generation)


def query(url: str, statement: str, *values: Any) -> list[Any]:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(reference: str) -> Any:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(module, "load_causal_lm", refuse)


def untimed(rows: list[Generation]) -> list[dict[str, Any]]:
    return [row.model_dump(exclude={"generation_time"}) for row in rows]


def test_log_and_artifact_hold_the_same_rows(log: Log, artifact: Callable[..., Any], database_url: str) -> None:
    summary = log()
    rows = artifact()
    assert summary["generations"] == summary["sampled_now"] == len(rows) == PROMPTS * SAMPLES
    assert [(row.prompt_id, row.sample) for row in rows] == sorted((row.prompt_id, row.sample) for row in rows)
    columns = "generation_id::text, prompt, response, completion_tokens, prompt_tokens, finish_reason, sample"
    logged = query(database_url, f"SELECT {columns} FROM llm_logs")
    assert sorted(logged) == sorted(
        (r.generation_id, r.prompt, r.response, r.completion_tokens, r.prompt_tokens, r.finish_reason, r.sample)
        for r in rows
    )
    lengths = {
        reason: [row.completion_tokens for row in rows if row.finish_reason == reason] for reason in ("stop", "length")
    }
    assert set(lengths["length"]) == {8}
    assert lengths["stop"], "some answers end before the limit, or nothing here tells the two apart"
    assert all(1 <= tokens <= 8 for tokens in lengths["stop"])
    assert summary["eos_rate"] == len(lengths["stop"]) / len(rows)
    assert len({row.response for row in rows}) > len(rows) / 2, "samples differ"
    sampling = {"temperature": 1.0, "max_new_tokens": 8, "seed": 0}
    first = rows[0]
    assert first.generation_id == generation_id(first.prompt_id, summary["model_digest"], sampling, first.sample)


def test_nothing_is_sampled_twice(
    log: Log, artifact: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log()
    rows = artifact()
    (tmp_path / "generations.jsonl").unlink()
    no_model(monkeypatch)
    summary = log()
    assert (summary["sampled_now"], summary["tokens_per_second"]) == (0, 0.0)
    assert artifact() == rows


def test_only_what_is_missing_is_sampled_and_comes_out_the_same(
    log: Log, artifact: Callable[..., Any], database_url: str
) -> None:
    log()
    rows = artifact()
    gone = [row.generation_id for row in rows[::2]]
    query(database_url, "DELETE FROM llm_logs WHERE generation_id = ANY(%s::uuid[])", gone)
    assert log(batch_size=3)["sampled_now"] == len(gone)
    assert untimed(artifact()) == untimed(rows)
    assert artifact()[1::2] == rows[1::2], "what was there stays as it was"


def test_more_samples_keep_the_ones_there_are(log: Log, artifact: Callable[..., Any]) -> None:
    log()
    rows = artifact()
    assert log(num_samples=SAMPLES + 1)["sampled_now"] == PROMPTS
    assert [row for row in artifact() if row.sample < SAMPLES] == rows


def test_shards_part_the_prompts(log: Log, artifact: Callable[..., Any]) -> None:
    parts = []
    for shard in range(4):
        log(shard=shard, num_shards=4)
        parts.append({row.generation_id for row in artifact()})
    log()
    assert sum(map(len, parts)) == PROMPTS * SAMPLES
    assert set.union(*parts) == {row.generation_id for row in artifact()}


def test_the_first_prompts_of_each_split_are_taken(
    log: Log, artifact: Callable[..., Any], prompt_file: Callable[..., Path]
) -> None:
    many = prompt_file(30)
    log(prompts=many)
    ids = sorted({row.prompt_id for row in artifact()})
    validation = [name for name in ids if split_of(name) == "validation"]
    train = [name for name in ids if split_of(name) == "train"]
    assert not any(is_held_out(name) for name in ids), "test prompts are for the evaluation alone"
    assert len(validation) > 1 and len(train) > 2
    assert log(prompts=many, num_prompts=2, num_validation_prompts=1)["prompts"] == 3
    assert sorted({row.prompt_id for row in artifact()}) == sorted([*train[:2], *validation[:1]])


def test_a_seed_decides_texts_and_ids(log: Log, artifact: Callable[..., Any], database_url: str) -> None:
    log()
    first = artifact()
    query(database_url, "TRUNCATE llm_logs CASCADE")
    log()
    assert untimed(artifact()) == untimed(first)
    log(seed=1)
    assert not {row.generation_id for row in artifact()} & {row.generation_id for row in first}
    assert [row.response for row in artifact()] != [row.response for row in first]


def test_random_numbers_belong_to_the_id() -> None:
    name, other = generation_id("p", "m", {}, 0), generation_id("p", "m", {}, 1)
    assert uniforms_of(name, 4).tolist() == uniforms_of(name, 9)[:4].tolist()
    assert uniforms_of(name, 4).tolist() != uniforms_of(other, 4).tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shard": 2, "num_shards": 2}, "`shard`: 2 given; it must be below `num_shards`, 2"),
        ({"shard": -1}, "`shard`: -1 given"),
        ({"temperature": 0.0}, "`num_samples`: 2 given; it must be 1 where `temperature` is 0"),
        ({"shard": PROMPTS, "num_shards": PROMPTS + 1}, "`num_shards`: 7 given; it must be at most the 6 prompts"),
    ],
)
def test_settings_that_make_no_sense_are_refused(log: Log, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PreflowError, match=message):
        log(**settings)


def test_arguments_are_checked_by_name() -> None:
    check({"temperature": 0.7, "prompts": "anything"})
    for wrong, name in (({}, "temperature"), ({"temperature": 0.7, "num_prompts": -1}, "num_prompts")):
        with pytest.raises(PreflowError, match=f"^`{name}`: "):
            check(wrong)


def test_a_killed_step_goes_on_where_it_was(
    policy_folder: Path, database_url: str, prompt_file: Callable[..., Path], tmp_path: Path
) -> None:
    arguments = [str(prompt_file(20, split="train")), str(policy_folder), database_url, str(tmp_path / "out.jsonl")]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    step = subprocess.Popen([sys.executable, "-c", _SLOW, *arguments], env=environment, stdout=subprocess.DEVNULL)
    try:
        while count(database_url) < 3:
            assert step.poll() is None, "the step ended before it could be killed"
            time.sleep(0.05)
    finally:
        step.send_signal(signal.SIGKILL)
    assert step.wait() == -signal.SIGKILL
    survived = count(database_url)
    assert 3 <= survived < 40
    assert not (tmp_path / "out.jsonl").exists()

    summary = log_generations(
        prompts=Path(arguments[0]),
        model=str(policy_folder),
        database_url=database_url,
        output=tmp_path / "out.jsonl",
        config=GenerationConfig(num_samples=2, temperature=1.0, target_sequence_length=8),
    )
    assert (summary["sampled_now"], summary["generations"]) == (40 - survived, 40)
    logged = query(database_url, "SELECT generation_id::text, prompt_id, sample, response FROM llm_logs")
    assert len({(prompt, number) for _, prompt, number, _ in logged}) == len(logged) == 40
    rows = read_rows(tmp_path / "out.jsonl", Generation)
    assert sorted(logged) == sorted((row.generation_id, row.prompt_id, row.sample, row.response) for row in rows)


def count(url: str) -> int:
    """Rows in the log; none before the step has made the table."""
    if query(url, "SELECT to_regclass('llm_logs')") == [(None,)]:
        return 0
    return int(query(url, "SELECT count(*) FROM llm_logs")[0][0])


def test_logged_answers_get_their_scores(
    log: Log, encoder_folder: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log()

    def score() -> list[ScoredGeneration]:
        auto_score(
            generations=tmp_path / "generations.jsonl",
            prompts=tmp_path / "prompts.jsonl",
            encoder=str(encoder_folder),
            label_weights={"relevance": 3.0, "ended_properly": 1.0},
            monitors=["reference_similarity"],
            database_url=database_url,
            output=tmp_path / "scored.jsonl",
        )
        return read_rows(tmp_path / "scored.jsonl", ScoredGeneration)

    rows = score()
    for row in rows:
        relevance, ended = row.scores["relevance"], row.scores["ended_properly"]
        assert relevance is not None
        assert ended == (row.finish_reason == "stop" and bool(row.response.strip()))
        assert row.reward_score == pytest.approx((3 * relevance + ended) / 4)
    logged = dict(query(database_url, "SELECT generation_id::text, reward_score FROM llm_logs"))
    assert logged == {row.generation_id: row.reward_score for row in rows}
    assert query(database_url, "SELECT count(*) FROM scores") == [(3 * PROMPTS * SAMPLES,)]
    monkeypatch.setattr(
        sys.modules["preflow.scoring.auto_score"], "load_encoder", lambda reference: pytest.fail("scored again")
    )
    assert score() == rows
