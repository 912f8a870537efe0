"""The `preflow` command. Every subcommand calls the function that a component or a notebook calls.

Nothing heavy is imported before it is known which subcommand runs, so that `preflow --help` is there at once.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from preflow.errors import PreflowError

_USAGE = """usage: preflow COMMAND [options]

run, look and compare:
  run [PIPELINE]       run a pipeline on this machine: rlhf (the default) or rlhf_from_preferences
  runs                 list the runs
  compare A B          two runs side by side; the start of a run's id is enough
  sql QUERY            one read-only query on the database
  compile [PIPELINE]   write the pipelines as YAML

single steps, as the pipeline runs them:
  log-generations      sample answers to prompts and log them
  auto-score           score logged answers
  feedback-snapshot    write the feedback below a watermark
  build-preferences    make preference pairs of scores and feedback
  train-reward-model   train a reward model on preference pairs
  ppo-optimize         tune a policy with PPO
  eval-inference       compare a tuned policy with its base

`preflow COMMAND --help` tells more. Runs, cache, models and the embedded database are kept in PREFLOW_HOME
(default: ~/.preflow). DATABASE_URL names another Postgres.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Without the program's name; `sys.argv` if None.

    Returns:
        The exit status: 0, 1 for an error that the user can mend, 130 after Ctrl-C. Wrong usage exits with 2.
    """
    command, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    try:
        _command(command)(rest)
    except PreflowError as error:
        print(f"preflow: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("preflow: interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as in `preflow runs | head`; what is left to flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _command(name: str) -> Callable[[list[str]], None]:
    commands = {"run": _run, "runs": _runs, "compare": _compare, "sql": _sql, "compile": _compile}
    if name in commands:
        return commands[name]
    from pipelines.verbs import VERBS, run_verb

    if name in VERBS:
        return lambda arguments: run_verb(name, arguments)
    import difflib

    near = difflib.get_close_matches(name, [*commands, *VERBS], n=1)
    hint = f"did you mean '{near[0]}'?" if near else "`preflow --help` lists them"
    raise PreflowError(f"there is no command '{name}'; {hint}")


def _run(arguments: list[str]) -> None:
    import tempfile

    from pipelines.compile import compile_pipeline
    from pipelines.files import preflow_home
    from pipelines.launch import run_local
    from pipelines.spec import read_pipeline

    name = "rlhf"
    if arguments and not arguments[0].startswith("-"):
        name, *arguments = arguments
    with tempfile.TemporaryDirectory(prefix="preflow-") as folder:
        compiled = compile_pipeline(name, Path(folder, f"{name}.yaml"))
        given = _parameters(read_pipeline(compiled), name, arguments)
        run = run_local(compiled, given, preflow_home())
    _print_outcome(run)


def _parameters(pipeline: Any, name: str, arguments: list[str]) -> dict[str, Any]:
    from pipelines.parameters import parse, read_parameters, unknown
    from pipelines.spec import RESOLVED

    settable = [entry for entry in pipeline.parameters.values() if entry.name not in RESOLVED]
    parser = argparse.ArgumentParser(
        prog=f"preflow run {name}", description="Runs the pipeline on this machine.", allow_abbrev=False
    )
    parser.add_argument("--parameters", type=Path, metavar="FILE", help="JSON file of parameters; options win over it")
    for entry in settable:
        option = f"--{entry.name.replace('_', '-')}"
        described = f"{entry.help} (default: {entry.default!r})".replace("%", "%%")
        parser.add_argument(option, dest=f"parameter.{entry.name}", metavar=_METAVARS[entry.kind], help=described)
    options, left = parser.parse_known_args(arguments)
    for argument in left:
        typed = argument.partition("=")[0].lstrip("-").replace("-", "_")
        raise PreflowError(unknown(typed, [entry.name for entry in settable], f"pipeline {name}"))
    given = read_parameters(options.parameters) if options.parameters else {}
    for entry in settable:
        text = vars(options)[f"parameter.{entry.name}"]
        if text is not None:
            given[entry.name] = parse(entry, text)
    return given


_METAVARS = {
    "STRING": "TEXT",
    "NUMBER_INTEGER": "N",
    "NUMBER_DOUBLE": "X",
    "BOOLEAN": "true|false",
    "LIST": "JSON",
    "STRUCT": "JSON",
}


def _print_outcome(run: Path) -> None:
    import json

    from pipelines.summary import print_summary
    from pipelines.tables import output

    print_summary(json.loads((run / "summary.json").read_text(encoding="utf-8")), run, output())


def _runs(arguments: list[str]) -> None:
    argparse.ArgumentParser(prog="preflow runs", description="Lists the runs.").parse_args(arguments)
    from pipelines.files import preflow_home
    from pipelines.runs import print_runs
    from pipelines.tables import output

    print_runs(preflow_home(), output())


def _compare(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="preflow compare", description="Compares two runs.")
    parser.add_argument("first", metavar="A", help="a run's id, or the start of it")
    parser.add_argument("second", metavar="B", help="the same of another run")
    options = parser.parse_args(arguments)
    from pipelines.files import preflow_home
    from pipelines.runs import print_comparison
    from pipelines.tables import output

    print_comparison(preflow_home(), options.first, options.second, output())


def _sql(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="preflow sql", description="Runs one read-only query on the database.")
    parser.add_argument("query", metavar="QUERY", help='such as "SELECT model_name, count(*) FROM llm_logs GROUP BY 1"')
    options = parser.parse_args(arguments)
    from pipelines.files import preflow_home
    from pipelines.query import print_query
    from pipelines.tables import output

    print_query(options.query, preflow_home(), output())


def _compile(arguments: list[str]) -> None:
    from pipelines.compile import PIPELINES, compile_pipeline

    parser = argparse.ArgumentParser(prog="preflow compile", description="Writes the pipelines as YAML.")
    parser.add_argument("pipeline", nargs="?", choices=PIPELINES, help="only this one")
    parser.add_argument("--output", type=Path, default=Path("."), metavar="FOLDER", help="where to (default: here)")
    options = parser.parse_args(arguments)
    for name in [options.pipeline] if options.pipeline else PIPELINES:
        print(compile_pipeline(name, options.output / f"{name}.yaml"))


if __name__ == "__main__":
    sys.exit(main())
