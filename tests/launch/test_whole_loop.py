"""Both pipelines from prompts to promotion: the real launcher, the real steps, the real store, and tiny models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from launch.local.run import run_local
from launch.runs.summary import FIGURES
from pipelines.compile import compile_pipeline
from preflow.identity import is_held_out
from preflow.rows import Feedback
from preflow.store import append_feedback, connect, list_runs
from tests.tiny import questions, save_encoder, save_policy

_PROMPTS, _SAMPLES = 40, 2
_JUDGING = ["base-inference", "eval-inference", "promote", "record-run"]
_LEARNING = ["build-preferences", "train-reward-model", "ppo-optimize", *_JUDGING]
_COLLECTING = ["validate-inputs", "log-generations", "auto-score", "feedback-snapshot"]


@pytest.fixture
def launched(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs a pipeline with tiny models and little of everything, and gives its folder."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = questions(_PROMPTS, references=True)
    lines = [json.dumps({"prompt": row.prompt, "reference": row.reference}) for row in rows]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    settings = {
        "prompt_dataset": str(tmp_path / "prompts.jsonl"),
        "preference_dataset": "",
        "large_model_reference": str(save_policy(tmp_path / "policy")),
        "reward_model_reference": str(save_encoder(tmp_path / "encoder")),
        "encoder_reference": str(tmp_path / "encoder"),
        "prompt_sequence_length": 128,
        "target_sequence_length": 8,
        "reward_model_train_steps": 2,
        "reward_model_batch_size": 4,
        "reinforcement_learning_train_steps": 1,
        "reinforcement_learning_batch_size": 4,
        "ppo_epochs": 1,
        "ppo_minibatches": 1,
        "lora_rank": 2,
        "ppo_options": {"lora_layers": 1},
        "eval_max_prompts": 6,
    }

    def run(name: str, home: Path = tmp_path / "home", image: str = "", **given: Any) -> Path:
        compiled = compile_pipeline(name, tmp_path / f"{name}.yaml")
        return run_local(compiled, {**settings, **given}, home, image)

    return run


def query(url: str, statement: str) -> Any:
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall()
    connection.close()
    return rows


def summary(run: Path) -> Any:
    return json.loads((run / "summary.json").read_text())


def assert_complete(run: Path, steps: list[str]) -> None:
    """The run's folder holds all that a run leaves."""
    found = summary(run)
    assert found["status"] == "succeeded"
    assert (found["failed_step"], found["error"]) == (None, None)
    assert set(found["seconds"]) == set(steps)
    for name in ("kl", "kl_high", "reward_model_accuracy", "baseline_longer"):
        assert isinstance(found[name], float), name
    assert isinstance(found["win_rate"], float) == (found["lead"] is not None)
    assert {"reward_model", "relevance"} <= set(found["win_rates"])
    assert {"response_tokens", "eos_rate", "distinct_1"} <= set(found["base"]) & set(found["tuned"])
    assert isinstance(found["promoted"], bool) and found["reason"]
    assert "<html" in (run / "report.html").read_text()
    assert (run / "report.md").read_text().strip()
    assert (run / "pipeline.yaml").is_file() and (run / "parameters.json").is_file()
    artifacts = json.loads((run / "manifest.json").read_text())["artifacts"]
    assert {"pairs", "reward_model", "policy", "training_log", "evaluations"} <= {one["name"] for one in artifacts}
    for step in set(steps) - set(found["cached"]):
        assert (run / "logs" / f"{step}.log").is_file(), step
    assert (run / "logs" / "kfp.log").is_file()


def test_the_loop(launched: Callable[..., Path], database_url: str) -> None:
    settings = {"num_prompts": _PROMPTS, "num_samples": _SAMPLES, "min_score_gap": 1e-6}
    first = launched("rlhf", **settings)
    assert_complete(first, [*_COLLECTING, *_LEARNING])
    assert summary(first)["cached"] == []
    assert list((first / "tensorboard").glob("events.out.tfevents.*"))
    assert "label_score" in summary(first)["win_rates"]
    assert set(summary(first)["temperatures"]) == {"0", "0.7"}
    kept = sum(not is_held_out(row.prompt_id) for row in questions(_PROMPTS))
    [(rows, scored, prompts)] = query(
        database_url, "SELECT count(*), count(reward_score), count(DISTINCT prompt_id) FROM llm_logs"
    )
    assert rows == scored == kept * _SAMPLES
    assert prompts == kept, "prompts to judge with are not answered for training"
    with connect(database_url) as connection:
        [record] = list_runs(connection)
    assert (record.run_id, record.promoted) == (first.name, summary(first)["promoted"])
    assert {name: record.metrics[name] for name in FIGURES} == {name: summary(first)[name] for name in FIGURES}

    second = launched("rlhf", **settings)
    assert set(summary(second)["cached"]) == {*_COLLECTING, *_LEARNING} - {"record-run"}
    assert_complete(second, [*_COLLECTING, *_LEARNING])
    assert summary(second)["win_rates"] == summary(first)["win_rates"]

    with connect(database_url) as connection:
        append_feedback(connection, [judgement()])
    third = launched("rlhf", **settings)
    assert_complete(third, [*_COLLECTING, *_LEARNING])
    assert set(summary(third)["cached"]) == {"validate-inputs", "log-generations", "auto-score", "base-inference"}
    [(again,)] = query(database_url, "SELECT count(*) FROM llm_logs")
    assert again == rows, "nothing was sampled again"
    pairs = next(one for one in artifacts(third) if one["name"] == "pairs")
    assert '"source":"human"' in Path(pairs["uri"]).read_text()
    with connect(database_url) as connection:
        assert {run.run_id for run in list_runs(connection)} == {first.name, second.name, third.name}


def test_the_classic_stages(launched: Callable[..., Path], database_url: str, tmp_path: Path) -> None:
    given = [
        {"prompt": row.prompt, "chosen": "It is good.", "rejected": "no"} for row in questions(_PROMPTS) if row.prompt
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, given)))
    run = launched("rlhf_from_preferences", preference_dataset=str(tmp_path / "pairs.jsonl"))
    assert_complete(run, ["validate-inputs", *_LEARNING])
    assert query(database_url, "SELECT count(*) FROM llm_logs") == [(0,)]
    found = summary(run)
    assert "label_score" not in found["win_rates"], "no label was made"
    assert found["verdict"]["lead"] != "reward_model"
    pairs = next(one for one in artifacts(run) if one["name"] == "pairs")
    assert len(Path(pairs["uri"]).read_text().splitlines()) == len(given)


def artifacts(run: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((run / "manifest.json").read_text())["artifacts"]
    return found


def judgement() -> Feedback:
    """What a person says of two answers to a train prompt."""
    prompt = questions(1, split="train")[0]
    return Feedback(
        feedback_id="f1",
        kind="pairwise",
        prompt_id=prompt.prompt_id,
        prompt=prompt.prompt,
        responses=[{"text": "It is water."}, {"text": "No."}],
        value=0,
        labeler="ada",
        source="human",
        created_at="2026-01-02T03:04:05Z",
    )
