"""The `preflow` command."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines import cli, compile, launch, verbs
from preflow.errors import PreflowError


def test_help_needs_nothing_heavy() -> None:
    program = (
        "import sys; from pipelines.cli import main; main(['--help'])\n"
        "print(sorted({'kfp', 'torch', 'rich', 'yaml'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.endswith("[]\n")
    assert all(verb in out.stdout for verb in verbs.VERBS)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, small_pipeline: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """Lets `preflow run` launch nothing, and keeps what it would have launched."""
    launched: list[dict[str, Any]] = []

    def run_local(path: Path, parameters: dict[str, Any], home: Path) -> Path:
        launched.append(parameters)
        raise PreflowError("stopped here")

    monkeypatch.setattr(compile, "compile_pipeline", lambda name, output: small_pipeline)
    monkeypatch.setattr(launch, "run_local", run_local)
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path))
    return launched


def test_run_takes_options_and_a_file_and_options_win(
    runs: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"steps": 5, "mode": "x"}')
    assert cli.main(["run", "rlhf", "--parameters", str(file), "--steps", "7", "--weights", '{"a": 1.5}']) == 1
    assert runs == [{"steps": 7, "mode": "x", "weights": {"a": 1.5}}]
    assert capsys.readouterr().err == "preflow: error: stopped here\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--step", "7"], "pipeline rlhf has no parameter 'step'; did you mean 'steps'?"),
        (["--steps", "seven"], "parameter 'steps' must be a whole number; got 'seven'"),
        (["--run-id", "x"], "parameter 'run_id' is filled in by the launcher; leave it out"),
    ],
)
def test_run_refuses_what_the_pipeline_does_not_take(
    runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["run", *arguments]) == 1
    assert capsys.readouterr().err == f"preflow: error: {message}\n"
    assert runs == []


def test_an_unknown_command_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compar"]) == 1
    assert "there is no command 'compar'; did you mean 'compare'?" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_runs", interrupted)
    assert cli.main(["runs"]) == 130
    assert "run the same command again to continue" in capsys.readouterr().err


def test_compile_writes_the_pipelines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compile", "rlhf", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'rlhf.yaml'}\n"
    assert (tmp_path / "rlhf.yaml").exists()


@dataclass(frozen=True)
class _Config:
    updates: int = 8
    rate: float = 0.5


def test_a_verb_is_called_with_typed_options_and_prints_its_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb(
        *,
        prompts: Path,
        extra: Path | None,
        weights: Mapping[str, float],
        names: Sequence[str],
        config: _Config,
        seed: int = 3,
    ) -> Any:
        return [str(prompts), extra, weights, names, config.updates, config.rate, seed]

    file = tmp_path / "weights.json"
    file.write_text('{"a": 2}')
    options = ["--prompts", "p.jsonl", "--weights", str(file), "--names", '["x"]', "--updates", "2"]
    verbs.call_verb(verb, "verb", "does something", options)
    assert json.loads(capsys.readouterr().out) == ["p.jsonl", None, {"a": 2}, ["x"], 2, 0.5, 3]


def test_a_verb_gets_its_database_by_reference_never_by_url(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb(*, database_url: str) -> Any:
        return {"url": database_url}

    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@h/d")
    verbs.call_verb(verb, "verb", "", [])
    assert json.loads(capsys.readouterr().out) == {"url": "postgresql://u:p@h/d"}
    with pytest.raises(SystemExit):
        verbs.call_verb(verb, "verb", "", ["--database-url", "postgresql://u:p@h/d"])


def test_a_verb_without_a_needed_option_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    def verb(*, prompts: Path) -> Any:
        return {}

    with pytest.raises(SystemExit) as caught:
        verbs.call_verb(verb, "verb", "", [])
    assert caught.value.code == 2
    assert "--prompts" in capsys.readouterr().err
