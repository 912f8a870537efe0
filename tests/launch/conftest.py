"""Small pipelines that go through the real launcher: their steps need neither models nor a database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Markdown, Metrics, Model, Output

from pipelines.compile import compile_function

_IMAGE = "preflow-python:test"


@dsl.component(base_image=_IMAGE, install_kfp_package=False)
def prepare(text: str, code: str, rows: Output[Dataset]):
    with open(rows.path, "w", encoding="utf-8") as file:
        file.write(text)
    print("prepared", repr(text))


@dsl.component(base_image=_IMAGE, install_kfp_package=False)
def train(rows: Input[Dataset], steps: int, mode: str, reward_model: Output[Model]):
    import json
    import os
    import time

    for done in range(steps + 1):
        print(
            "::progress " + json.dumps({"label": "training", "done": done, "total": steps, "note": "loss 0.5"}),
            flush=True,
        )
    if mode == "error":
        from preflow.errors import PreflowError

        raise PreflowError("rows.jsonl, line 3: field 'prompt': missing; add it")
    if mode == "defect":
        raise ZeroDivisionError("division by zero")
    if mode == "killed":
        os.kill(os.getpid(), 9)
    if mode == "silent":
        os._exit(3)
    if mode == "slow":
        time.sleep(60)
    if mode == "memory":
        held = bytearray(200 * 1024 * 1024)
        time.sleep(0.8)
        print(len(held))
    os.makedirs(reward_model.path)
    with open(os.path.join(reward_model.path, "summary.json"), "w") as file:
        json.dump({"accuracy": 0.75, "accuracy_low": 0.7, "accuracy_high": 0.8, "baseline_longer": 0.6}, file)


@dsl.component(base_image=_IMAGE, install_kfp_package=False)
def judge(
    reward_model: Input[Model],
    evaluations: Output[Dataset],
    metrics: Output[Metrics],
    verdict: Output[Dataset],
    report: Output[HTML],
    markdown: Output[Markdown],
):
    import json
    import os

    judges = {"label_score": {"win_rate": 0.8, "low": 0.7, "high": 0.9}}
    summary = {"win_rate": 0.8, "win_rates": judges, "kl": 3, "base": {"bleu": 1.0}, "tuned": {"bleu": 2.0}}
    summary |= {"lead": "label_score", "temperatures": {"0": judges, "0.7": judges}, "kl_high": 4}
    reached = {"promoted": True, "lead": "label_score", "reason": "Promoted: it wins", "reasons": ["holds: it wins"]}
    summary |= {"reward_model_accuracy": 0.75, "baseline_longer": 0.6}
    metrics.log_metric("eval_kl", 3.0)
    os.makedirs(evaluations.path)
    path = os.path.join(evaluations.path, "summary.json")
    written = {path: json.dumps(summary), verdict.path: json.dumps(reached)}
    written |= {report.path: "<p>better</p>", markdown.path: "# better"}
    for place, text in written.items():
        with open(place, "w", encoding="utf-8") as file:
            file.write(text)


@dsl.component(base_image=_IMAGE, install_kfp_package=False)
def record(run_id: str, metrics: Input[Metrics]):
    import os

    print("recorded", run_id, metrics.metadata, os.environ["PREFLOW_HOME"])


class Trained(NamedTuple):
    reward_model: Model


@dsl.pipeline(name="learn")
def learn(rows: Input[Dataset], steps: int, mode: str) -> Trained:
    trained = train(rows=rows, steps=steps, mode=mode)
    return Trained(reward_model=trained.outputs["reward_model"])


@dsl.pipeline(name="small")
def small(
    text: str = "hello",
    steps: int = 3,
    mode: str = "",
    weights: dict[str, float] = {"relevance": 1.0},  # noqa: B006
    policy_digest: str = "",
    run_id: str = "",
):
    """A small pipeline.

    Args:
        text: what is prepared
        steps: how long it trains
    """
    prepared = prepare(text=text, code=policy_digest)
    learned = learn(rows=prepared.outputs["rows"], steps=steps, mode=mode)
    judged = judge(reward_model=learned.outputs["reward_model"])
    record(run_id=run_id, metrics=judged.outputs["metrics"]).set_caching_options(False)


@pytest.fixture(scope="session")
def small_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled small pipeline."""
    return compile_function(small, tmp_path_factory.mktemp("compiled") / "small.yaml")


@pytest.fixture
def launch(small_pipeline: Path, tmp_path: Path) -> Callable[..., Path]:
    """Runs the small pipeline in a home of its own."""
    from launch.local.run import run_local

    def run(**parameters: Any) -> Path:
        return run_local(small_pipeline, parameters, tmp_path / "home")

    return run
