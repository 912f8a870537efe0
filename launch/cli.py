"""The `preflow` command. Every subcommand calls the function that a component or a notebook calls.

Nothing heavy is imported before it is known which subcommand runs, so that `preflow --help` is there at once.
"""

import importlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from launch.options import Command, Option, in_options, json_or_text, verb_arguments, verb_options
from preflow.errors import PreflowError
from preflow.home import preflow_home
from preflow.verbs import VERBS


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: Without the program's name; `sys.argv` if None.

    Returns:
        The exit status: 0, 1 for an error that the user can mend, 2 for wrong usage, 130 after Ctrl-C.
    """
    try:
        preflow.main(None if arguments is None else list(arguments), prog_name="preflow", standalone_mode=False)
    except PreflowError as error:
        print(f"preflow: error: {in_options(str(error), {'database': 'database'})}", file=sys.stderr)
        return 1
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        if isinstance(error.__cause__, EOFError):  # of a step; click takes it for Ctrl-D
            raise error.__cause__ from None
        print("preflow: interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    return 0


class _Commands(click.Group):
    """Subcommands that look and run, then one per verb of the library, made when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The subcommands in the order of their sections."""
        return [*self.commands, *(name.replace("_", "-") for name in VERBS)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """A subcommand by name."""
        verb = name.replace("-", "_")
        if verb not in VERBS:
            return self.commands.get(name)
        return verb_command(getattr(importlib.import_module(VERBS[verb].module), verb), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes both sections."""
        with formatter.section("Run, look and compare"):
            formatter.write_dl([(name, command.get_short_help_str(80)) for name, command in self.commands.items()])
        with formatter.section("Single steps, as the pipeline runs them"):
            formatter.write_dl([(name.replace("_", "-"), verb.help) for name, verb in VERBS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def preflow() -> None:
    """RLHF as a Kubeflow pipeline.

    Runs, cache, models and the embedded database are kept in PREFLOW_HOME (default: ~/.preflow). DATABASE_URL names
    another Postgres. `preflow COMMAND --help` tells more.
    """


class _OfPipeline(Command):
    """A command whose first argument names a pipeline, and whose options are then the pipeline's parameters."""

    default = ""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The usage line."""
        return ["[PIPELINE]", "[OPTIONS]"]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own options and the pipeline's parameters."""
        return [*super().get_params(ctx), *ctx.meta.get("preflow.options", [])]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Compiles the pipeline that is named, and parses the rest by its parameters."""
        name = self.default
        if args and not args[0].startswith("-"):
            name, *args = args
        if name:
            folder = ctx.with_resource(tempfile.TemporaryDirectory(prefix="preflow-"))
            self._add_parameters(ctx, name, Path(folder))
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not name:
                raise
            from launch.values import unknown

            typed = error.option_name.lstrip("-").replace("-", "_")
            raise PreflowError(unknown(typed, ctx.meta["preflow.pipeline"])) from None
        ctx.params["name"] = name
        return rest

    def _add_parameters(self, ctx: click.Context, name: str, folder: Path) -> None:
        from launch.spec import read_pipeline
        from pipelines.compile import compile_pipeline
        from pipelines.parameters import PARAMETERS

        pipeline = ctx.meta["preflow.pipeline"] = read_pipeline(compile_pipeline(name, folder / f"{name}.yaml"))
        options = ctx.meta["preflow.options"] = []
        for entry in pipeline.settable.values():
            known, read = PARAMETERS[entry.name], str if entry.kind == "STRING" else json_or_text
            options.append(
                Option(entry.name, known.type, known.help, group=known.group, default=entry.default, read=read)
            )


class _Run(_OfPipeline):
    default = "rlhf"


def _given(file: Path | None, options: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a file, with those that were typed in place of the file's."""
    from launch.runs.folder import read_json

    typed = {name: value for name, value in options.items() if value is not None}
    return {**(read_json(file) if file else {}), **typed}


_parameters_file = click.option(
    "--parameters",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="JSON file of parameters; options win over it",
)


@preflow.command(cls=_Run)
@click.option(
    "--image", default="", metavar="IMAGE", help="run each step in a container of this image  [default: as a process]"
)
@_parameters_file
@click.pass_context
def run(ctx: click.Context, /, name: str, image: str, file: Path | None, **options: Any) -> None:
    """Run a pipeline on this machine: rlhf (the default) or rlhf_from_preferences."""
    from launch.local.run import run_local
    from launch.runs.folder import read_json
    from launch.runs.summary import print_summary
    from launch.tables import output

    folder = run_local(ctx.meta["preflow.pipeline"].path, _given(file, options), preflow_home(), image)
    print_summary(read_json(folder / "summary.json"), folder, output())


@preflow.command()
def runs() -> None:
    """List the runs."""
    from launch.runs.listing import print_runs
    from launch.tables import output

    print_runs(preflow_home(), output())


@preflow.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
def compare(first: str, second: str) -> None:
    """Compare two runs side by side; the start of a run's id is enough."""
    from launch.runs.listing import print_comparison
    from launch.tables import output

    print_comparison(preflow_home(), first, second, output())


@preflow.command()
@click.argument("query")
def sql(query: str) -> None:
    """Run a read-only query on the database, such as "SELECT count(*) FROM llm_logs"."""
    from launch.query import print_query
    from launch.tables import output

    print_query(query, preflow_home(), output())


@preflow.command(cls=_OfPipeline)
@click.option("--output", type=Path, default=Path("."), metavar="FOLDER", help="folder to write to  [default: here]")
@click.option("--resolve", "resolved", is_flag=True, help="write resolved values as the parameters' defaults")
@click.option(
    "--target",
    type=click.Choice(["local", "kfp", "vertex"]),
    default="local",
    help="where it will run  [default: local]",
)
@_parameters_file
@click.pass_context
def compile(
    ctx: click.Context, /, name: str, output: Path, resolved: bool, target: str, file: Path | None, **options: Any
) -> None:
    """Write one pipeline, or all of them, as YAML: rlhf, rlhf_from_preferences.

    With --resolve, the pipeline's parameters are options: `preflow compile rlhf --help`.
    """
    from launch.resolved_yaml import write_resolved
    from pipelines.compile import PIPELINES, compile_pipeline

    given = _given(file, options)
    if not resolved:
        if given or target != "local":
            raise PreflowError("parameters and --target are for a resolved pipeline; add --resolve")
        for pipeline in [name] if name else PIPELINES:
            print(compile_pipeline(pipeline, output / f"{pipeline}.yaml"))
    elif name:
        path = output / f"{name}.yaml"
        write_resolved(ctx.meta["preflow.pipeline"], given, preflow_home(), path, local=target == "local")
        print(path)
    else:
        raise PreflowError("--resolve needs the name of a pipeline, such as `preflow compile rlhf --resolve`")


@preflow.group()
def feedback() -> None:
    """Import feedback into the database."""


@feedback.command(name="import")
@click.argument("file")
@click.option(
    "--source",
    type=click.Choice(["human", "user", "auto", "example"]),
    help="source of every row  [default: the row's own, or human]",
)
@click.option("--labeler", metavar="NAME", help="labeler of every row  [default: the row's own, or external]")
def import_(file: str, source: Any, labeler: str | None) -> None:
    """Import feedback of any accepted form; a file with a wrong line is not imported at all."""
    from launch.database import run_database
    from preflow.feedback.importing import import_feedback

    with run_database(preflow_home(), "") as url:
        counts = import_feedback(file=file, database_url=url, source=source, labeler=labeler)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))


def verb_command(function: Callable[..., Any], name: str) -> click.Command:
    """A subcommand that calls a keyword-only function and prints what it returns as JSON."""

    def call(**given: Any) -> None:
        from launch.database import run_database
        from preflow.runtime import prepare_process

        prepare_process(keep_freed_memory=True)
        reference = given.pop("database", None) or ""
        try:
            arguments = verb_arguments(function, given)
            with ExitStack() as stack:
                if "database_url" in arguments:
                    arguments["database_url"] = stack.enter_context(run_database(preflow_home(), reference))
                summary = function(**arguments)
        except PreflowError as error:
            raise PreflowError(in_options(str(error), {name: name for name in given})) from None
        if summary is not None:
            print(json.dumps(summary, indent=2, ensure_ascii=False, default=str))

    help = (function.__doc__ or "").partition("\n\n")[0]
    return Command(name, params=list(verb_options(function)), callback=call, help=help)


if __name__ == "__main__":
    sys.exit(main())
