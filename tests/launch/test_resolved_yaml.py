"""A resolved YAML runs without any launcher."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch import cli
from preflow.store import connect, feedback_watermark, list_runs
from tests.tiny import questions, save_encoder, save_policy

_STUBS = Path(__file__).parent / "stubs"
_ROOT = Path(__file__).parents[2]
_KFP_ALONE = """
import sys
from kfp import components, local
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2], enable_caching=True)
components.load_component_from_file(sys.argv[1])()
"""


@pytest.fixture
def run_with_kfp_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Callable[..., None]:
    """Runs a YAML with kfp.local and no code of ours but the steps' own."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(path: Path, *first: str) -> None:
        environment = {"PYTHONPATH": ":".join([*first, str(_ROOT)]), "PREFLOW_HOME": str(tmp_path / "home")}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        command = [sys.executable, "-c", _KFP_ALONE, str(path), str(tmp_path / "root")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    return run


def test_the_whole_loop_runs_from_its_resolved_yaml(
    run_with_kfp_alone: Callable[..., None], tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = questions(40, references=True)
    lines = [json.dumps({"prompt": row.prompt, "reference": row.reference}) for row in rows]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    parameters: dict[str, Any] = {
        **{"prompt_dataset": str(tmp_path / "prompts.jsonl"), "preference_dataset": ""},
        **{"large_model_reference": str(save_policy(tmp_path / "policy"))},
        **dict.fromkeys(("reward_model_reference", "encoder_reference"), str(save_encoder(tmp_path / "encoder"))),
        **{"prompt_sequence_length": 128, "target_sequence_length": 8, "num_prompts": 40, "num_samples": 2},
        **{"reward_model_train_steps": 2, "reward_model_batch_size": 4, "min_score_gap": 1e-6},
        **{"reinforcement_learning_train_steps": 1, "reinforcement_learning_batch_size": 4, "ppo_epochs": 1},
        **{"ppo_minibatches": 1, "lora_rank": 2, "eval_max_prompts": 6},
    }
    (tmp_path / "parameters.json").write_text(json.dumps(parameters))
    given = ["--parameters", str(tmp_path / "parameters.json"), "--output", str(tmp_path)]
    assert cli.main(["compile", "rlhf", "--resolve", *given]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'rlhf.yaml'}\n"
    run_with_kfp_alone(tmp_path / "rlhf.yaml")
    with connect(database_url) as connection:
        [run] = list_runs(connection)
        assert run.feedback_watermark == feedback_watermark(connection)
    assert run.parameters["num_samples"] == 2
    assert len(run.parameters["ppo_optimize_code"]) == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "vertex"], "DATABASE_URL is not set, and a cluster cannot reach the embedded database; set it"),
        (["--num-samples", "0"], "--num-samples: 0 given; it must be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_resolved_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home"))
    assert cli.main(["compile", "rlhf", "--resolve", "--output", str(tmp_path), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_a_cluster_gets_no_local_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], database_url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    lines = "".join(json.dumps({"prompt": row.prompt}) + "\n" for row in questions(40))
    (tmp_path / "prompts.jsonl").write_text(lines)
    given = ["--prompt-dataset", str(tmp_path / "prompts.jsonl"), "--target", "kfp", "--output", str(tmp_path)]
    assert cli.main(["compile", "rlhf", "--resolve", *given]) == 1
    assert "--prompt-dataset: a cluster cannot read files of this machine; give gs:// URIs" in capsys.readouterr().err


def test_resolving_needs_a_pipeline(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compile", "--resolve"]) == 1
    assert "--resolve needs the name of a pipeline" in capsys.readouterr().err


def test_a_resolve_that_fails_leaves_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    (tmp_path / "rlhf.yaml").write_text("earlier")
    assert cli.main(["compile", "rlhf", "--resolve", "--target", "kfp", "--output", str(tmp_path)]) == 1
    assert (tmp_path / "rlhf.yaml").read_text() == "earlier"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("options", [["--num-samples", "3"], ["--target", "vertex"]])
def test_parameters_without_resolve_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert cli.main(["compile", "rlhf", "--output", str(tmp_path), *options]) == 1
    assert "add --resolve" in capsys.readouterr().err
    assert not (tmp_path / "rlhf.yaml").exists()


def test_a_database_url_is_refused_as_a_parameter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--database", "postgresql://u:secret@h/d", "--output", str(tmp_path)]
    assert cli.main(["compile", "rlhf", "--resolve", *given]) == 1
    shown = capsys.readouterr().err
    assert "--database" in shown and "secret" not in shown
