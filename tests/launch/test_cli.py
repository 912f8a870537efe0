"""The `preflow` command."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import Field

from launch import cli
from launch.local import run as local_run
from launch.spec import read_pipeline
from launch.values import complete
from preflow.errors import PreflowError
from preflow.settings import Settings
from preflow.verbs import VERBS


def test_help_needs_nothing_heavy() -> None:
    program = (
        "import sys; from launch.cli import main; main(['--help'])\n"
        "print(sorted({'kfp', 'torch', 'rich', 'yaml', 'pydantic'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert out.stdout.endswith("[]\n")
    assert all(verb.replace("_", "-") in out.stdout for verb in VERBS)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Lets `preflow run` launch nothing, and keeps what it would have launched."""
    launched: list[dict[str, Any]] = []

    def run_local(path: Path, parameters: dict[str, Any], home: Path, image: str) -> Path:
        complete(read_pipeline(path), parameters)
        launched.append(parameters)
        raise PreflowError("stopped here")

    monkeypatch.setattr(local_run, "run_local", run_local)
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path))
    return launched


def test_run_takes_options_and_a_file_and_options_win(
    runs: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"num_samples": 5, "instruction": "x"}')
    options = ["--num-samples", "7", "--label-weights", '{"a": 1.5}', "--eval-dataset", "3"]
    assert cli.main(["run", "rlhf", "--parameters", str(file), *options]) == 1
    assert runs == [{"num_samples": 7, "instruction": "x", "label_weights": {"a": 1.5}, "eval_dataset": "3"}]
    assert capsys.readouterr().err == "preflow: error: stopped here\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-sample", "7"], "pipeline rlhf has no parameter --num-sample; did you mean --num-samples?"),
        (["--num-samples", "seven"], "--num-samples must be a whole number; got 'seven'"),
        (["--run-id", "x"], "--run-id is filled in by the launcher; leave it out"),
    ],
)
def test_run_refuses_what_the_pipeline_does_not_take(
    runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["run", *arguments]) == 1
    assert capsys.readouterr().err == f"preflow: error: {message}\n"
    assert runs == []


def test_an_unknown_command_gets_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compar"]) == 2
    assert "No such command 'compar'. (Did you mean one of: 'compare', 'compile'?)" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.runs, "callback", interrupted)
    assert cli.main(["runs"]) == 130
    assert "run the same command again to continue" in capsys.readouterr().err


def test_an_end_of_file_in_a_step_is_no_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: Any) -> None:
        raise EOFError("Ran out of input")

    monkeypatch.setattr(cli.runs, "callback", cut)
    with pytest.raises(EOFError, match="Ran out of input"):
        cli.main(["runs"])


def test_compile_writes_the_pipelines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compile", "rlhf", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'rlhf.yaml'}\n"
    assert (tmp_path / "rlhf.yaml").exists()


class _Config(Settings):
    updates: int = Field(8, ge=1, description="how often", json_schema_extra={"group": "training"})
    rate: float = Field(0.5, description="how fast; see `updates`")


def _verb(
    *,
    prompts: Path,
    extra: Path | None,
    weights: Mapping[str, float],
    names: Sequence[str],
    config: _Config,
    seed: int = 3,
) -> Any:
    """Does something.

    Args:
        prompts: File of prompts.
        extra: File of more.
        weights: Weights by name.
        names: Names.
        config: Settings.
        seed: Seed.
    """
    return [str(prompts), extra, weights, names, config.updates, config.rate, seed]


def _call(verb: Any, *arguments: str) -> None:
    cli.verb_command(verb, "verb").main(list(arguments), standalone_mode=False)


def test_a_verb_is_called_with_typed_options_and_prints_its_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "weights.json"
    file.write_text('{"a": 2}')
    options = ["--prompts", "p.jsonl", "--weights", str(file), "--names", '["x"]', "--updates", "2"]
    _call(_verb, *options)
    assert json.loads(capsys.readouterr().out) == ["p.jsonl", None, {"a": 2}, ["x"], 2, 0.5, 3]


def test_the_help_of_a_verb_says_what_every_option_means(capsys: pytest.CaptureFixture[str]) -> None:
    _call(_verb, "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "Training: --updates N how often [default: 8]" in shown
    assert "Settings: --rate X how fast; see --updates [default: 0.5]" in shown
    assert "--prompts PATH File of prompts [required]" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--updates", "0"], "--updates: 0 given; it must be greater than or equal to 1"),
        (["--updates", "many"], "--updates: 'many' given; it must be a valid integer"),
        (["--weights", '["a"]'], "--weights: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_setting_is_named_as_the_option_that_was_typed(options: list[str], message: str) -> None:
    given = ["--prompts", "p", "--weights", "{}", "--names", "[]"]
    with pytest.raises(PreflowError, match=message):
        _call(_verb, *given, *options)


def test_a_verb_gets_its_database_by_reference_never_by_url(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb(*, database_url: str) -> Any:
        return {"url": database_url}

    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@h/d")
    _call(verb)
    assert json.loads(capsys.readouterr().out) == {"url": "postgresql://u:p@h/d"}
    with pytest.raises(click.NoSuchOption):
        _call(verb, "--database-url", "postgresql://u:p@h/d")


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["promote", "--max-kl", "1.0"]) == 2
    assert "--evaluations" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_every_verb_has_a_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb.replace("_", "-"), "--help"]) == 0
    command = cli.preflow.get_command(click.Context(cli.preflow), verb.replace("_", "-"))
    assert command is not None
    assert [option.name for option in command.params if not (option.help or "").partition("  [")[0]] == []
